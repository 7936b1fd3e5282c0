"""PSNR inside the head mask: against seconds of training, and with and without each saving of compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, log
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.benchmarks.method_under_test import OURS, PEER, PEER_RAYS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.measurement import ResultRow, Target
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.throughput import FRAME_SIZE
from partnerface.benchmarks.speed.training_slices import ScoresDuringTraining, SecondsBudget, train_steps
from partnerface.cameras.pinhole import pixel_rays
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.regions import HEAD, in_regions
from partnerface.evaluation.image_metric import psnr

SHORT, LONG, CONVERGED = 60.0, 240.0, 600.0
"""CPU seconds of training: every method for a short and a long time, ours until it hardly gains."""
SHORT_TRAINING_LOSS = Target("<=", 1.0)
"""dB that the short training may lose against the converged one."""
MARKS = (10.0, 20.0, 40.0, 80.0, 160.0)
"""CPU seconds after which the long training is scored while it continues."""
GOAL = 28.0
"""PSNR in dB to which the time is measured."""
SCORED_FRAMES, PIXEL_STRIDE = 6, 2
"""Number of scored validation frames, and stride of the scored pixels: NeRFace renders slowly."""
RAYS_AT_ONCE = {"cpu": 512, "cuda": 32_768}
"""Scored pixels in a piece, by where it is rendered."""


def convergence_rows(
    build: MethodBuilder, methods: Sequence[str], threads: int, report: SpeedReport
) -> list[ResultRow]:
    """Train every method under each of its budgets, unless the report already holds the result."""
    found: dict[str, dict[str, Any]] = report.sections.setdefault("convergence", {})
    for method in methods:
        flags = [PEER_RAYS] if method == PEER else []
        for budget in (SHORT, LONG, CONVERGED) if method == OURS else (SHORT, LONG):
            entries = found.setdefault(method, {})
            if f"{budget:g}" not in entries:
                entries[f"{budget:g}"] = trained_to(build(method, *flags), budget, threads)
                report.save()
    ours = [convergence_row(found[OURS])] if OURS in methods else []
    return ours + [time_row(method, found[method]) for method in methods]


def trained_to(method: MethodUnderTest, budget: float, threads: int) -> dict[str, Any]:
    """Train for a budget of CPU seconds, which the schedules follow, and score; `LONG` at `MARKS` too."""
    meter = SecondsBudget(budget)
    marks = MARKS if budget == LONG else ()
    curve = ScoresDuringTraining(lambda: head_psnr(method), meter, marks)
    train_steps(method, -1, threads=threads, progress=0.0, callbacks=[method.refresh, meter, curve])
    score = head_psnr(method)
    return {
        "psnr": score,
        "cpu_seconds": meter.spent,
        "steps": meter.steps,
        "curve": [*curve.found, (meter.spent, score)],
    }


def time_row(method: str, entries: dict[str, Any]) -> ResultRow:
    """CPU seconds of training until `GOAL`."""
    name, unit = f"time_to_{GOAL:g}_db_{method}", "CPU s"
    curve = entries.get(f"{LONG:g}", {}).get("curve", [])
    if not curve:
        return ResultRow(name, None, unit, None, "not measured")
    if curve[0][1] >= GOAL:
        return ResultRow(name, curve[0][0], unit, None, "at the first mark already", details={"curve": curve})
    seconds = seconds_until(GOAL, curve)
    if seconds is None:
        return ResultRow(name, None, unit, None, f"{curve[-1][1]:.1f} dB after {curve[-1][0]:.0f} CPU s")
    return ResultRow(name, seconds, unit, None, "head mask", details={"curve": curve})


def seconds_until(goal: float, curve: Sequence[tuple[float, float]]) -> float | None:
    """When a curve of seconds and scores first reaches a score; None if it does not.

    Between two points it is interpolated linearly in the logarithm of time. A curve that begins above the
    goal gives its first time.
    """
    if curve[0][1] >= goal:
        return curve[0][0]
    for (start, low), (end, high) in pairwise(curve):
        if high >= goal:
            share = (goal - low) / (high - low)
            return exp(log(start) + share * (log(end) - log(start)))
    return None


def convergence_row(entries: dict[str, Any]) -> ResultRow:
    """PSNR in dB that a short training of our method loses against a converged one."""
    short, converged = (entries.get(f"{budget:g}") for budget in (SHORT, CONVERGED))
    name, unit = f"convergence_{OURS}", "dB lost"
    note = f"head mask, {SHORT:g} against {CONVERGED:g} CPU seconds of training"
    if short is None or converged is None:
        return ResultRow(name, None, unit, SHORT_TRAINING_LOSS, "not measured")
    return ResultRow(
        name, converged["psnr"] - short["psnr"], unit, SHORT_TRAINING_LOSS, note, details=entries
    )


def scored_frames(data: HeadVideoDataModule) -> Iterator[tuple[EvaluationFrame, Tensor]]:
    """Spread `SCORED_FRAMES` validation frames, and whether their pixels ``[H, W]`` show the head."""
    for index in data.val_frames[:: max(len(data.val_frames) // SCORED_FRAMES, 1)][:SCORED_FRAMES]:
        frame = data.evaluation_frame(index)
        yield frame, in_regions(frame.labels, HEAD) & (frame.matte > 0.5)


@torch.no_grad()
def head_psnr(method: MethodUnderTest) -> float:
    """PSNR in dB over a grid of the head's pixels, averaged over `SCORED_FRAMES` validation frames."""
    module, data = method.module.eval(), method.data
    device = module.device
    white, scores = torch.ones(3, device=device), []
    for frame, on_head in scored_frames(data):
        frame, on_head = frame.to(device), on_head.to(device)
        grid = torch.zeros_like(on_head)
        grid[::PIXEL_STRIDE, ::PIXEL_STRIDE] = True
        rows, columns = (on_head & grid).nonzero().unbind(1)
        pixels = torch.stack([columns, rows], 1) + 0.5
        pieces = pixels.split(RAYS_AT_ONCE[device.type])
        rendered = [
            module.avatar(pixel_rays(frame.view.camera, piece[None]), frame.view).rays.over(white)[0]
            for piece in pieces
        ]
        error = torch.cat(rendered) - frame.on_white()[:, rows, columns].T
        scores.append(float(psnr(error.square().mean())))
    return sum(scores) / len(scores)


SEEDS = (0, 1, 2)
TRAINING_STEPS = 800
SAVING_LOSS = Target("<=", 0.1)
"""dB that a saving may lose."""


AS_SHIPPED = "as_shipped"
TRAININGS: dict[str, tuple[list[str], bool]] = {
    AS_SHIPPED: ([], True),
    "learned_occupancy": ([], False),
    "top_k_parts": (["--model.avatar.deformation.init_args.top_k=64"], True),
}
"""As shipped, and without one saving each: all candidate cells, all parts at every point. By name: flags of
``partnerface fit``, and whether the occupancy is pruned to what was learned."""


def quality_rows(build: MethodBuilder, threads: int, report: SpeedReport) -> list[ResultRow]:
    """Train all of `TRAININGS` with every seed, unless the report already holds the result."""
    found: dict[str, dict[str, Any]] = report.sections.setdefault("quality", {})
    for seed in SEEDS:
        for name, (flags, pruned) in TRAININGS.items():
            scores = found.setdefault(name, {})
            if str(seed) in scores:
                continue
            method = build(OURS, f"--seed_everything={seed}", *flags)
            callbacks = [method.refresh] if pruned else []
            train_steps(method, TRAINING_STEPS, threads=threads, progress=0.0, callbacks=callbacks)
            scores[str(seed)] = head_psnr(method)
            if name == AS_SHIPPED:
                found.setdefault("voxels", {})[str(seed)] = voxels_loss(method)
            report.save()
    return saving_rows(found)


def saving_rows(found: dict[str, dict[str, float]]) -> list[ResultRow]:
    """PSNR in dB that each saving loses, averaged over the seeds.

    Args:
        found: PSNR by name of the training and seed; under ``voxels`` the losses by `voxels_loss`.
    """
    shipped = found[AS_SHIPPED]
    losses = {name: [found[name][seed] - shipped[seed] for seed in shipped] for name in TRAININGS}
    losses = {f"quality_{name}": values for name, values in losses.items() if name != AS_SHIPPED}
    losses["quality_voxels_of_a_picture"] = [*found["voxels"].values()]
    note = f"head mask, {TRAINING_STEPS} steps of training, mean of {len(shipped)} seeds, paired"
    return [
        ResultRow(name, fmean(values), "dB lost", SAVING_LOSS, note, values)
        for name, values in losses.items()
    ]


@torch.no_grad()
def voxels_loss(method: MethodUnderTest) -> float:
    """PSNR in dB that pictures lose by interpolating the canonical map in voxels, over validation frames.

    Pictures of ``FRAME_SIZE`` pixels a side are averaged down to the size of the data, at which the method
    itself would not use voxels.
    """
    avatar, data = method.module.avatar.eval(), method.data
    losses = []
    for frame, on_head in scored_frames(data):
        large = frame.view.resized(FRAME_SIZE, FRAME_SIZE)
        scores = []
        for exact in (True, False):
            picture = avatar.render(large, exact=exact).on_white()
            small = functional.adaptive_avg_pool2d(picture, frame.matte.shape)
            scores.append(float(psnr((small - frame.on_white())[:, on_head].square().mean())))
        losses.append(scores[0] - scores[1])
    return fmean(losses)
