"""The suite ``speed``: what is measured, in which order and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from partnerface.benchmarks.method_under_test import BuildMethod, MethodUnderTest
from partnerface.benchmarks.rendering_speed import FRAME_SIZE, FrameToRender, rendering_rows
from partnerface.benchmarks.speed_report import SpeedReport, print_tables, rows_table, stages_table
from partnerface.benchmarks.stage_profile import rendering_profile, training_profile
from partnerface.benchmarks.training_slices import set_up, train_steps
from partnerface.benchmarks.training_speed import against_nerface, many_parts_row

OURS, PEER = "part_deformation", "nerface"
PEER_RAYS = 128
"""Rays of a frame in a step of NeRFace: enough that its matrices are large, and a step takes a second."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        training_steps: steps of training before anything is timed, so that the occupancy is pruned.
        rounds: interleaved repetitions.
        steps: training steps of ours in a round.
    """

    training_steps: int = 400
    rounds: int = 5
    steps: int = 8


QUICK = Effort(training_steps=200, rounds=2, steps=4)


@dataclass
class SpeedOptions:
    """What was asked for.

    Attributes:
        out: folder for figures.
        effort: how much is measured.
        quick: leave out what takes long.
        threads: CPU threads in training.
    """

    out: Path
    effort: Effort
    quick: bool
    threads: int


def run_speed(build: BuildMethod, options: SpeedOptions, report: SpeedReport) -> None:
    """Measure, filling the report as it goes."""
    effort = options.effort
    say = Console(stderr=True, highlight=False).print
    say("training, so that empty space is pruned")
    # Lightning clips no gradients of a fused optimizer under autocast; without, the peer is a little faster.
    ours, peer = trained(build(OURS), options), build(PEER, "--model.gradient_clip=0")
    peer.data.rays_per_frame = PEER_RAYS
    set_up(peer)
    say("training against NeRFace")
    report.add(*against_nerface(ours, peer, effort.rounds, effort.steps, options.threads))
    say("many parts against few")
    report.add(many_parts_row(build, ours, effort.rounds, effort.steps))
    say("rendering against NeRFace")
    report.add(*rendering_rows(ours, peer, effort.rounds))
    say("stages")
    frame = FrameToRender.of(ours.data.sequence, FRAME_SIZE)
    report.sections["profile"] = {
        "training_step": training_profile(ours, effort.steps),
        "rendered_frame": rendering_profile(ours, frame, 1),
    }
    report.save()


def trained(method: MethodUnderTest, options: SpeedOptions, device: str = "cpu") -> MethodUnderTest:
    """A method after a short real training with its configured pruning."""
    torch.set_num_threads(1)
    train_steps(
        method,
        options.effort.training_steps,
        threads=options.threads,
        device=device,
        share_done=None,
        callbacks=[method.refresh],
    )
    return method


def print_report(report: SpeedReport) -> None:
    """Print every table of a report."""
    profile = report.sections.get("profile", {})
    titles: dict[str, Callable] = {
        "training_step": "one training step, one thread",
        "rendered_frame": f"one frame of {FRAME_SIZE}x{FRAME_SIZE}, all threads",
    }
    stages = [stages_table(titles[name], rows) for name, rows in profile.items()]
    print_tables(*stages, rows_table(report.rows))
