"""SpeedSuite: what `benchmark speed` measures, in which order and how often."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from partnerface.benchmarks.method_under_test import OURS, PEER, PEER_RAYS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.growth import GROWTH, GrowthCurve
from partnerface.benchmarks.speed.measurement import ResultRow
from partnerface.benchmarks.speed.processes import SCALING_STEPS, memory_rows, scaling_row
from partnerface.benchmarks.speed.quality import convergence_rows, cuda_convergence_row, quality_rows
from partnerface.benchmarks.speed.report import (
    PROFILE_TITLES,
    SpeedReport,
    write_convergence_figure,
    write_growth_figure,
    write_stage_figure,
)
from partnerface.benchmarks.speed.stages import rendering_profile, training_profile
from partnerface.benchmarks.speed.throughput import (
    FRAME_SIZE,
    against_nerface,
    cuda_rendering_row,
    many_parts_row,
    missing_cuda_rows,
    rendering_rows,
    square_view,
)
from partnerface.benchmarks.speed.training_slices import set_up, train_steps
from partnerface.compute.threads import single_thread
from partnerface.errors import UserError

CUDA_RAYS, CUDA_PEER_RAYS = "--data.rays_per_frame=8192", "--data.rays_per_frame=1024"
"""Rays per frame on a CUDA device, which needs large batches of both methods."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        training_steps: training steps before anything is timed, so that the occupancy is pruned.
        rounds: interleaved repetitions.
        steps: training steps of ours in a round.
        growth: measure growth curves.
    """

    training_steps: int = 400
    rounds: int = 5
    steps: int = 8
    growth: bool = True


QUICK = Effort(training_steps=175, rounds=2, steps=4, growth=False)


@dataclass
class SpeedSuite:
    """Measures section by section, adding to the report as it goes.

    Attributes:
        build: builds methods on the embedded subject, all of whose rays hit the head.
        report: where results are added.
        out: folder of the figures.
        effort: how much is measured.
        threads: CPU threads in training.
        cuda: measure on the CUDA device too.
    """

    build: MethodBuilder
    report: SpeedReport
    out: Path
    effort: Effort
    threads: int
    cuda: bool

    def __post_init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._start = time.monotonic()

    def run(self) -> None:
        """Measure all that takes minutes at most: training, rendering, stages, growth and CUDA."""
        effort, report = self.effort, self.report
        ours, peers = self._trained("cpu"), self._peers()
        self._say("training against NeRFace")
        report.add(*against_nerface(ours, peers, effort.rounds, effort.steps, self.threads))
        self._say("many parts against few")
        report.add(many_parts_row(self.build, ours, effort.rounds, effort.steps))
        self._say("rendering against NeRFace")
        report.add(*rendering_rows(ours, peers["float32"], effort.rounds))
        self._say("stages")
        report.sections["profile"] = profiles = self._profiles(ours)
        report.save()
        titled = {PROFILE_TITLES[name]: stages for name, stages in profiles.items()}
        write_stage_figure(self.out / "stages.png", titled)
        if effort.growth:
            self._growth(ours)
        report.add(*(self._cuda_rows() if self.cuda else missing_cuda_rows("no CUDA device")))

    def run_memory(self, large_build: MethodBuilder) -> None:
        """Measure memory, which needs gigabytes of disk for the embedded subject at 512x512."""
        self._say("memory, in processes of their own")
        self.report.add(*memory_rows(self.build, large_build))

    def run_processes(self) -> None:
        """Measure training in two processes against one."""
        trained = self._trained("cpu")
        self._say("two processes against one")
        self.report.add(scaling_row(self.build, trained, self.effort.rounds, SCALING_STEPS))

    def run_quality(self, build: MethodBuilder) -> None:
        """Measure what each saving costs in PSNR: a quarter of an hour, on a longer clip."""
        self._say("quality: nine trainings, less those that the file holds")
        with single_thread():
            rows = quality_rows(build, self.threads, self.report)
        self.report.add(*rows)

    def run_convergence(
        self, methods: Sequence[str], build: MethodBuilder, large_build: MethodBuilder | None
    ) -> None:
        """Measure convergence: most of an hour, every method on a longer clip; on CUDA, ours at 512x512."""
        self._say("convergence: 5 CPU minutes for every method that the file lacks, 15 for ours")
        with single_thread():
            rows = convergence_rows(build, methods, self.threads, self.report)
        self.report.add(*rows)
        write_convergence_figure(self.out / "convergence.png", self.report.sections["convergence"])
        if large_build is not None:
            self.report.replace(cuda_convergence_row(large_build))

    def _trained(self, device: str, *flags: str) -> MethodUnderTest:
        """Our method after a short training with its configured pruning."""
        method, effort = self.build(OURS, *flags), self.effort
        self._say(f"{effort.training_steps} steps of training, so that empty space is pruned")
        options = {"threads": self.threads, "device": device, "callbacks": [method.refresh]}
        with single_thread():
            train_steps(method, effort.training_steps, progress=0.0, **options)
        return method

    def _peers(self, rays: str = PEER_RAYS) -> dict[str, MethodUnderTest]:
        """NeRFace by the floating-point type of its fields."""
        flags = {"float32": [rays], "bfloat16": [rays, "--model.avatar.init_args.bfloat16=true"]}
        peers = {name: self.build(PEER, *words) for name, words in flags.items()}
        for peer in peers.values():
            set_up(peer)
        return peers

    def _profiles(self, ours: MethodUnderTest, device: str = "cpu") -> dict[str, list[dict[str, Any]]]:
        view = square_view(ours.data.sequence, FRAME_SIZE)
        return {
            "training_step": training_profile(ours, self.effort.steps, device),
            "rendered_frame": rendering_profile(ours, view, 1, device),
        }

    def _growth(self, ours: MethodUnderTest) -> None:
        curves: list[GrowthCurve] = []
        rounds = max(self.effort.rounds // 2, 1)
        for name, measure in GROWTH.items():
            self._say(f"growth with {name}")
            found = measure(self.build, ours, rounds, self.effort.steps)
            curves += found
            self.report.add(*(curve.row() for curve in found))
        write_growth_figure(self.out / "growth.png", curves)

    def _cuda_rows(self) -> list[ResultRow]:
        self._say("CUDA device")
        effort = self.effort
        ours, peers = self._trained("cuda", CUDA_RAYS), self._peers(CUDA_PEER_RAYS)
        rows = [cuda_rendering_row(ours, 4 * effort.rounds)]
        rows += against_nerface(ours, peers, effort.rounds, effort.steps, self.threads, "cuda")
        self.report.sections["cuda_profile"] = self._profiles(ours, "cuda")
        return [*rows, missing_cuda_rows("only with --convergence true")[-1]]

    def _say(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._start:5.0f} s  {line}")


def check_device(device: str) -> bool:
    """Whether to measure on a CUDA device, if ``device`` is ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: ``cuda`` on a machine without one.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("--device cuda: this machine has no CUDA device; choose auto or cpu")
    return available and device != "cpu"
