"""Speed of rendering a frame: ours with all rays, NeRFace with few that cover the same view."""

from __future__ import annotations

from collections.abc import Callable

from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed.interleaving import Duration, duration_of, interleaved, ratios
from partnerface.benchmarks.speed.result_row import ResultRow, Target, measured_row
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View

FRAME_SIZE = 256
PEER_SIZE = 32
"""Pixels a side that NeRFace renders of the same view; its time is scaled by the number of rays."""

RATIO, FRAMES_PER_SECOND = Target(">=", 400), Target(">=", 3)


def square_view(sequence: TrackedSequence, size: int, frame: int = 0) -> View:
    """One frame of a video in a picture of ``size`` pixels a side."""
    return View(sequence.camera, sequence.head, sequence.torso_motion).select([frame]).resized(size, size)


def rendering_time(method: MethodUnderTest, view: View, device: str = "cpu") -> Duration:
    """Time of rendering one picture; the method stays in evaluation mode."""
    avatar, view = method.module.to(device).avatar.eval(), view.to(device)
    return duration_of(lambda: avatar.render_image(view), device)


def rendering_rows(ours: MethodUnderTest, peer: MethodUnderTest, rounds: int) -> list[ResultRow]:
    """Frames per second and the ratio to NeRFace, on all cores, without gradients."""
    view = square_view(ours.data.sequence, FRAME_SIZE)
    small, rays = view.resized(PEER_SIZE, PEER_SIZE), (PEER_SIZE / FRAME_SIZE) ** 2
    variants: dict[str, Callable[[], Duration]] = {
        "ours": lambda: rendering_time(ours, view),
        "nerface": lambda: rendering_time(peer, small).per(rays),
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
