"""GpuBench: the trained avatar, the clip and the device that sections of `benchmark gpu` measure on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import torch

from partnerface.benchmarks.method_under_test import (
    HEAD_RAYS,
    OURS,
    MethodBuilder,
    MethodUnderTest,
    embedded_subject,
)
from partnerface.benchmarks.speed.measurement import Target
from partnerface.benchmarks.speed.training_slices import set_up, train_steps
from partnerface.files.whole_files import whole_file

WEIGHTS_FILE = "weights.pt"


@dataclass(frozen=True)
class GpuEffort:
    """How much is measured.

    Attributes:
        frames: frames of the embedded subject's clip.
        size: their width and height in pixels.
        image_size: size at which all but convergence trains.
        batches: rays of a frame in a training step, ascending; the second is that of ``scale/gpu``.
        frames_per_batch: frames in a step.
        peer_rays: rays of a frame in a step of NeRFace, of two frames.
        training_steps: training before anything is timed, so that the occupancy is pruned.
        rounds: repetitions.
        steps: training steps of a repetition.
        pictures: sizes of rendered pictures.
        convergence: size of the frames by file of ``configs/scale``.
        training_seconds: longest training whose convergence is measured.
        flags: flags of ``partnerface fit`` for our method.
        peer_flags: the same for NeRFace.
    """

    frames: int = 48
    size: int = 512
    image_size: int = 256
    batches: tuple[int, ...] = (256, 2048, 8192, 32_768)
    frames_per_batch: int = 8
    peer_rays: int = 1024
    training_steps: int = 200
    rounds: int = 5
    steps: int = 20
    pictures: tuple[int, ...] = (256, 512, 1024)
    convergence: dict[str, int] = field(default_factory=lambda: {"gpu": 256, "gpu_full": 512})
    training_seconds: float = inf
    flags: tuple[str, ...] = ()
    peer_flags: tuple[str, ...] = ()


REHEARSAL = GpuEffort(
    frames=24,
    size=32,
    image_size=32,
    batches=(32, 64),
    frames_per_batch=2,
    peer_rays=16,
    training_steps=2,
    rounds=2,
    steps=2,
    pictures=(16, 32),
    convergence={"gpu": 24, "gpu_full": 32},
    training_seconds=1.0,
    flags=(
        "--model.avatar.sampler.init_args.cells=32",
        "--model.avatar.field.init_args.log2_table_size=12",
        "--data.num_workers=0",
    ),
    peer_flags=(
        "--model.avatar.init_args.layers=2",
        "--model.avatar.init_args.hidden_width=16",
        "--model.avatar.sampler.init_args.samples=8",
        "--model.avatar.init_args.importance=8",
    ),
)
"""Tries every section on a CPU in seconds; its figures mean nothing."""


@dataclass(frozen=True)
class GpuBench:
    """Where and on what a section measures.

    Attributes:
        out: folder of what sections share: the clip and the trained weights.
        device: ``cuda``, or ``cpu`` for a rehearsal.
        effort: how much is measured.
        deadline: when the section has to be done, on the clock of ``time.monotonic``.
    """

    out: Path
    device: str
    effort: GpuEffort
    deadline: float = inf

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    def clip(self, *flags: str) -> MethodBuilder:
        """Builds methods on the clip, which is rendered unless it is there."""
        return embedded_subject(self.out / "subject", self.effort.frames, self.effort.size, *flags)

    def trained(self, *flags: str) -> MethodUnderTest:
        """Our method after a short training, on rays that hit the head.

        The first section that asks trains it, and leaves the weights for the others.
        """
        effort, device = self.effort, self.device
        size = f"--data.image_size={effort.image_size}", f"--data.frames_per_batch={effort.frames_per_batch}"
        # Epochs of a short clip would end every few steps.
        words = *effort.flags, *size, f"--data.rays_per_frame={effort.batches[0]}"
        words = *words, "--data.batches_per_epoch=10000", *flags
        method, path = self.clip(HEAD_RAYS)(OURS, *words, scale="gpu"), self.out / WEIGHTS_FILE
        set_up(method, device)
        avatar = method.module.avatar
        if not path.is_file():
            train_steps(
                method, effort.training_steps, device=device, progress=0.0, callbacks=[method.refresh]
            )
            with whole_file(path) as partial:
                torch.save(avatar.state_dict(), partial)
        avatar.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
        return method

    def target(self, comparison: str, bound: float) -> Target | None:
        """A bound that is meant for a GPU: None in a rehearsal."""
        return None if self.device == "cpu" else Target(comparison, bound)  # type: ignore[arg-type]
