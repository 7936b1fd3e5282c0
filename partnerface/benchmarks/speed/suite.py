"""The suite ``speed``: what is measured, in which order and how often."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from partnerface.benchmarks.method_under_test import OURS, PEER, PEER_RAYS, BuildMethod, MethodUnderTest
from partnerface.benchmarks.speed.convergence import convergence_rows
from partnerface.benchmarks.speed.figures import (
    write_convergence_figure,
    write_growth_figure,
    write_stage_figure,
)
from partnerface.benchmarks.speed.gpu import gpu_convergence_row, gpu_rendering_row, rows_without_device
from partnerface.benchmarks.speed.growth import (
    GrowthCurve,
    frames_growth,
    image_growth,
    mesh_growth,
    parts_growth,
    samples_growth,
)
from partnerface.benchmarks.speed.memory import memory_rows
from partnerface.benchmarks.speed.process_scaling import SCALING_STEPS, scaling_row
from partnerface.benchmarks.speed.quality import quality_rows
from partnerface.benchmarks.speed.rendering import FRAME_SIZE, rendering_rows, square_view
from partnerface.benchmarks.speed.report import (
    PROFILE_TITLES,
    SpeedReport,
    print_tables,
    rows_table,
    stages_table,
)
from partnerface.benchmarks.speed.result_row import ResultRow
from partnerface.benchmarks.speed.stage_profile import rendering_profile, training_profile
from partnerface.benchmarks.speed.training import against_nerface, many_parts_row
from partnerface.benchmarks.speed.training_slices import set_up, train_steps
from partnerface.compute.threads import single_thread
from partnerface.errors import UserError

CUDA_RAYS, CUDA_PEER_RAYS = "--data.rays_per_frame=8192", "--data.rays_per_frame=1024"
"""A CUDA device wants large batches of either method."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        training_steps: steps of training before anything is timed, so that the occupancy is pruned.
        rounds: interleaved repetitions.
        steps: training steps of ours in a round.
        growth: measure growth curves.
    """

    training_steps: int = 400
    rounds: int = 5
    steps: int = 8
    growth: bool = True


QUICK = Effort(training_steps=175, rounds=2, steps=4, growth=False)


@dataclass(frozen=True)
class SpeedOptions:
    """What was asked for.

    Attributes:
        out: folder of the figures.
        effort: how much is measured.
        threads: CPU threads in training.
        cuda: measure on the CUDA device too.
    """

    out: Path
    effort: Effort
    threads: int
    cuda: bool


class SpeedSuite:
    """Measures section by section, filling the report as it goes.

    Args:
        build: makes methods on the embedded subject, all of whose rays hit the head.
        options: what was asked for.
        report: takes the results.
    """

    def __init__(self, build: BuildMethod, options: SpeedOptions, report: SpeedReport) -> None:
        self.build, self.options, self.report = build, options, report
        self._console = Console(stderr=True, highlight=False)
        self._start = time.monotonic()

    def run(self) -> None:
        """What takes minutes at most."""
        effort, report = self.options.effort, self.report
        ours, peers = self._trained("cpu"), self._peers()
        self._say("training against NeRFace")
        report.add(*against_nerface(ours, peers, effort.rounds, effort.steps, self.options.threads))
        self._say("many parts against few")
        report.add(many_parts_row(self.build, ours, effort.rounds, effort.steps))
        self._say("rendering against NeRFace")
        report.add(*rendering_rows(ours, peers["float32"], effort.rounds))
        self._profile(ours)
        if effort.growth:
            self._growth(ours)
        report.add(*(self._cuda_rows() if self.options.cuda else rows_without_device()))

    def run_memory(self, large_build: BuildMethod) -> None:
        """What needs gigabytes of disk, on the embedded subject at 512x512."""
        self._say("memory, in processes of their own")
        self.report.add(*memory_rows(self.build, large_build))

    def run_processes(self) -> None:
        """What trains in interpreters of its own: two processes against one."""
        trained, effort = self._trained("cpu"), self.options.effort
        self._say("two processes against one")
        self.report.add(scaling_row(self.build, trained, effort.rounds, SCALING_STEPS))

    def run_quality(self, build: BuildMethod) -> None:
        """What takes a quarter of an hour: three seeds with and without each saving, on a longer clip."""
        self._say("quality: nine trainings, less those that the file holds")
        with single_thread():
            rows = quality_rows(build, self.options.threads, self.report)
        self.report.add(*rows)

    def run_convergence(
        self, methods: Sequence[str], build: BuildMethod, large_build: BuildMethod | None
    ) -> None:
        """What takes most of an hour: every method on a longer clip; with a CUDA device, ours at 512x512."""
        self._say("convergence: 5 CPU minutes for every method that the file lacks, 15 for ours")
        with single_thread():
            rows = convergence_rows(build, methods, self.options.threads, self.report)
        self.report.add(*rows)
        write_convergence_figure(self.options.out / "convergence.png", self.report.sections["convergence"])
        if large_build is not None:
            self.report.replace(gpu_convergence_row(large_build))

    def _trained(self, device: str, *flags: str) -> MethodUnderTest:
        """Ours after a short real training with its configured pruning."""
        method, effort = self.build(OURS, *flags), self.options.effort
        self._say(f"{effort.training_steps} steps of training, so that empty space is pruned")
        threads = self.options.threads
        with single_thread():
            train_steps(
                method,
                effort.training_steps,
                threads=threads,
                device=device,
                share_done=None,
                callbacks=[method.refresh],
            )
        return method

    def _peers(self, rays: str = PEER_RAYS) -> dict[str, MethodUnderTest]:
        """NeRFace by the precision of its fields."""
        bfloat = "--model.avatar.init_args.bfloat16=true"
        return {"float32": self._peer(rays), "bfloat16": self._peer(rays, bfloat)}

    def _peer(self, *flags: str) -> MethodUnderTest:
        peer = self.build(PEER, *flags)
        set_up(peer)
        return peer

    def _profile(self, ours: MethodUnderTest) -> None:
        self._say("stages")
        frame = square_view(ours.data.sequence, FRAME_SIZE)
        profiles = {
            "training_step": training_profile(ours, self.options.effort.steps),
            "rendered_frame": rendering_profile(ours, frame, 1),
        }
        self.report.sections["profile"] = profiles
        self.report.save()
        titled = {PROFILE_TITLES[name]: stages for name, stages in profiles.items()}
        write_stage_figure(self.options.out / "stages.png", titled)

    def _growth(self, ours: MethodUnderTest) -> None:
        build, rounds, steps = self.build, max(self.options.effort.rounds // 2, 1), self.options.effort.steps
        curves: list[GrowthCurve] = []
        for name, measure in {
            "parts": lambda: [parts_growth(build, ours, rounds, steps)],
            "samples": lambda: [samples_growth(build, ours, rounds, steps)],
            "image size": lambda: [image_growth(ours, rounds)],
            "mesh size": lambda: [mesh_growth(build, ours, rounds, steps)],
            "number of frames": lambda: frames_growth(build, ours, rounds, steps),
        }.items():
            self._say(f"growth with {name}")
            found = measure()
            curves += found
            self.report.add(*(curve.row() for curve in found))
        write_growth_figure(self.options.out / "growth.png", curves)

    def _cuda_rows(self) -> list[ResultRow]:
        self._say("CUDA device")
        effort = self.options.effort
        ours, peers = self._trained("cuda", CUDA_RAYS), self._peers(CUDA_PEER_RAYS)
        rows = [gpu_rendering_row(ours, 4 * effort.rounds)]
        threads = self.options.threads
        rows += against_nerface(ours, peers, effort.rounds, effort.steps, threads, "cuda")
        self.report.sections["cuda_profile"] = {
            "training_step": training_profile(ours, effort.steps, "cuda"),
            "rendered_frame": rendering_profile(ours, square_view(ours.data.sequence, FRAME_SIZE), 1, "cuda"),
        }
        return [*rows, rows_without_device("not asked for: --convergence true")[-1]]

    def _say(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._start:5.0f} s  {line}")


def print_report(report: SpeedReport) -> None:
    """Print every table of a report."""
    profiles = report.sections.get("profile", {})
    stages = [stages_table(PROFILE_TITLES[name], rows) for name, rows in profiles.items()]
    print_tables(*stages, rows_table(report.rows))
    machine = report.environment["machine"]
    if machine["load_at_start"] and machine["load_at_start"][0] > machine["cores"] / 2:
        print("The machine was busy: wall times and their ratios suffer, those by CPU time hardly do.")


def check_device(device: str) -> bool:
    """Whether to measure on a CUDA device.

    Raises:
        UserError: one was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("--device cuda: this machine has no CUDA device; choose auto or cpu")
    return available and device != "cpu"
