"""Speed of rendering a frame: ours with all rays, NeRFace with few that cover the same view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed.interleaving import Duration, duration_of, interleaved, ratios
from partnerface.benchmarks.speed.result_row import ResultRow, Target, measured_row
from partnerface.cameras.pinhole import Camera
from partnerface.data.sequence import TrackedSequence
from partnerface.head_models.head_parameters import HeadParameters

FRAME_SIZE = 256
PEER_SIZE = 32
"""Pixels a side that NeRFace renders of the same view; its time is scaled by the number of rays."""

RATIO, FRAMES_PER_SECOND = Target(">=", 400), Target(">=", 3)


@dataclass
class FrameToRender:
    """What a picture of one frame of a video needs, at any size.

    Attributes:
        camera: one camera.
        head: parameters of one frame.
        torso_motion: ``[1, 2, 3]``.
    """

    camera: Camera
    head: HeadParameters
    torso_motion: Tensor

    @classmethod
    def of(cls, sequence: TrackedSequence, size: int, frame: int = 0) -> FrameToRender:
        """A frame of a video, ``size`` pixels wide and high."""
        camera = sequence.camera.select([frame]).resized(size, size)
        return cls(camera, sequence.head.select([frame]), sequence.torso_motion[[frame]])

    @property
    def rays(self) -> int:
        return self.camera.width * self.camera.height

    def to(self, device: str) -> FrameToRender:
        return FrameToRender(self.camera.to(device), self.head.to(device), self.torso_motion.to(device))

    def resized(self, size: int) -> FrameToRender:
        return replace(self, camera=self.camera.resized(size, size))

    def render(self, avatar: Avatar) -> None:
        avatar.render_image(self.camera, self.head, self.torso_motion)

    def timed(self, method: MethodUnderTest, device: str = "cpu") -> Duration:
        """Time of rendering the frame; the method stays in evaluation mode."""
        avatar, frame = method.module.to(device).avatar.eval(), self.to(device)
        return duration_of(lambda: frame.render(avatar), device)


def rendering_rows(ours: MethodUnderTest, peer: MethodUnderTest, rounds: int) -> list[ResultRow]:
    """Frames per second and the ratio to NeRFace, on all cores, without gradients."""
    frame = FrameToRender.of(ours.data.sequence, FRAME_SIZE)
    small = frame.resized(PEER_SIZE)
    variants: dict[str, Callable[[], Duration]] = {
        "ours": lambda: frame.timed(ours),
        "nerface": lambda: small.timed(peer).per(small.rays / frame.rays),
    }
    interleaved(variants, 1)
    found = interleaved(variants, rounds)
    walls = {name: [d.wall for d in durations] for name, durations in found.items()}
    cpus = {name: [d.cpu for d in durations] for name, durations in found.items()}
    size = f"{FRAME_SIZE}x{FRAME_SIZE}"
    return [
        measured_row(
            "rendering_frames_per_second",
            [1 / wall for wall in walls["ours"]],
            "frames/s",
            FRAMES_PER_SECOND,
            f"{size}, all cores, wall time",
            by_cpu_time=[1 / cpu for cpu in cpus["ours"]],
        ),
        measured_row(
            "rendering_against_nerface",
            ratios(walls["nerface"], walls["ours"]),
            "x",
            RATIO,
            f"{size}, all cores; NeRFace: {PEER_SIZE}x{PEER_SIZE} rays of that view, scaled by number",
            nerface_seconds_per_frame=walls["nerface"],
            by_cpu_time=ratios(cpus["nerface"], cpus["ours"]),
        ),
    ]
