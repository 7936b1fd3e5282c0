"""SpeedSuite: what `benchmark speed` measures, in which order and how often."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from partnerface.benchmarks.method_under_test import OURS, PEER_RAYS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.growth import GROWTH, GrowthCurve
from partnerface.benchmarks.speed.processes import SCALING_STEPS, memory_rows, scaling_row
from partnerface.benchmarks.speed.quality import convergence_rows, quality_rows
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
    bank_rows,
    many_parts_row,
    nerface_by_type,
    rendering_rows,
    square_view,
)
from partnerface.benchmarks.speed.training_slices import train_steps
from partnerface.compute.threads import single_thread


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
    """

    build: MethodBuilder
    report: SpeedReport
    out: Path
    effort: Effort
    threads: int

    def __post_init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._start = time.monotonic()

    def run(self) -> None:
        """Measure all that takes minutes at most: training, rendering, stages and growth."""
        effort, report = self.effort, self.report
        ours, peers = self._trained(), nerface_by_type(self.build, PEER_RAYS)
        self._say("training against NeRFace")
        report.add(*against_nerface(ours, peers, effort.rounds, effort.steps, self.threads))
        self._say("many parts against few")
        report.add(many_parts_row(self.build, ours, effort.rounds, effort.steps))
        self._say("64 parts against the bank of 8 networks")
        report.add(*bank_rows(self.build, ours, effort.rounds, effort.steps))
        self._say("rendering against NeRFace")
        report.add(*rendering_rows(ours, peers["float32"], effort.rounds))
        self._say("stages")
        report.sections["profile"] = profiles = self._profiles(ours)
        report.save()
        titled = {PROFILE_TITLES[name]: stages for name, stages in profiles.items()}
        write_stage_figure(self.out / "stages.png", titled)
        if effort.growth:
            self._growth(ours)

    def run_memory(self, large_build: MethodBuilder) -> None:
        """Measure memory, which needs gigabytes of disk for the embedded subject at 512x512."""
        self._say("memory, in processes of their own")
        self.report.add(*memory_rows(self.build, large_build))

    def run_processes(self) -> None:
        """Measure training in two processes against one."""
        trained = self._trained()
        self._say("two processes against one")
        self.report.add(scaling_row(self.build, trained, self.effort.rounds, SCALING_STEPS))

    def run_quality(self, build: MethodBuilder) -> None:
        """Measure what each saving costs in PSNR: a quarter of an hour, on a longer clip."""
        self._say("quality: nine trainings, less those that the file holds")
        with single_thread():
            rows = quality_rows(build, self.threads, self.report)
        self.report.add(*rows)

    def run_convergence(self, methods: Sequence[str], build: MethodBuilder) -> None:
        """Measure convergence: most of an hour, every method on a longer clip."""
        self._say("convergence: 5 CPU minutes for every method that the file lacks, 15 for ours")
        with single_thread():
            rows = convergence_rows(build, methods, self.threads, self.report)
        self.report.add(*rows)
        write_convergence_figure(self.out / "convergence.png", self.report.sections["convergence"])

    def _trained(self) -> MethodUnderTest:
        """Our method after a short training with its configured pruning."""
        method, effort = self.build(OURS), self.effort
        self._say(f"{effort.training_steps} steps of training, so that empty space is pruned")
        options = {"threads": self.threads, "callbacks": [method.refresh]}
        with single_thread():
            train_steps(method, effort.training_steps, progress=0.0, **options)
        return method

    def _profiles(self, ours: MethodUnderTest) -> dict[str, list[dict[str, Any]]]:
        view = square_view(ours.data.sequence, FRAME_SIZE)
        return {
            "training_step": training_profile(ours, self.effort.steps),
            "rendered_frame": rendering_profile(ours, view, 1),
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

    def _say(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._start:5.0f} s  {line}")
