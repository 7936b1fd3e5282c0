"""Convergence: PSNR inside the head mask against CPU seconds of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, log
from typing import Any

import torch
from torch import Tensor

from partnerface.benchmarks.method_under_test import OURS, PEER, PEER_RAYS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.result_row import ResultRow, Target, missing_row
from partnerface.benchmarks.speed.training_slices import ScoresDuringTraining, SecondsBudget, train_steps
from partnerface.cameras.pinhole import pixel_rays
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.regions import HEAD
from partnerface.evaluation.metrics import psnr

SHORT, LONG, CONVERGED = 60.0, 240.0, 600.0
"""CPU seconds of training: every method for a short and a long time, ours until it hardly gains."""
SHORT_TRAINING_LOSS = Target("<=", 1.0)
"""dB that the short training may lose against the converged one."""
MARKS = (10.0, 20.0, 40.0, 80.0, 160.0)
"""CPU seconds after which the long training is scored while it goes on."""
GOAL = 28.0
"""PSNR in dB to which the time is measured."""
SCORED_FRAMES, PIXEL_STRIDE = 6, 2
"""Number of scored validation frames, and stride of the scored pixels: NeRFace renders slowly."""


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
    """CPU seconds of training until `GOAL`, interpolated linearly in the logarithm of time."""
    name, unit = f"time_to_{GOAL:g}_db_{method}", "CPU s"
    curve = entries.get(f"{LONG:g}", {}).get("curve", [])
    if not curve:
        return missing_row(name, unit, None, "not measured")
    if curve[0][1] >= GOAL:
        return ResultRow(name, curve[0][0], unit, None, "at the first mark already", details={"curve": curve})
    for (start, low), (end, high) in pairwise(curve):
        if high >= GOAL:
            share = (GOAL - low) / (high - low)
            value = exp(log(start) + share * (log(end) - log(start)))
            return ResultRow(name, value, unit, None, "head mask", details={"curve": curve})
    return missing_row(name, unit, None, f"{curve[-1][1]:.1f} dB after {curve[-1][0]:.0f} CPU s")


def convergence_row(entries: dict[str, Any]) -> ResultRow:
    """PSNR in dB that a short training of our method loses against a converged one."""
    short, converged = (entries.get(f"{budget:g}") for budget in (SHORT, CONVERGED))
    name, unit = f"convergence_{OURS}", "dB lost"
    note = f"head mask, {SHORT:g} against {CONVERGED:g} CPU seconds of training"
    if short is None or converged is None:
        return missing_row(name, unit, SHORT_TRAINING_LOSS, "not measured")
    return ResultRow(
        name, converged["psnr"] - short["psnr"], unit, SHORT_TRAINING_LOSS, note, details=entries
    )


def scored_frames(data: HeadVideoDataModule) -> Iterator[tuple[EvaluationFrame, Tensor]]:
    """Spread `SCORED_FRAMES` validation frames, and whether their pixels ``[H, W]`` show the head."""
    head = torch.tensor([int(region) for region in HEAD], dtype=torch.uint8)
    for index in data.val_frames[:: max(len(data.val_frames) // SCORED_FRAMES, 1)][:SCORED_FRAMES]:
        frame = data.evaluation_frame(index)
        yield frame, torch.isin(frame.labels, head) & (frame.matte > 0.5)


@torch.no_grad()
def head_psnr(method: MethodUnderTest) -> float:
    """PSNR in dB over a grid of the head's pixels, averaged over `SCORED_FRAMES` validation frames."""
    module, data = method.module.eval(), method.data
    scores = []
    for frame, on_head in scored_frames(data):
        grid = torch.zeros_like(on_head)
        grid[::PIXEL_STRIDE, ::PIXEL_STRIDE] = True
        rows, columns = (on_head & grid).nonzero().unbind(1)
        pixels = torch.stack([columns, rows], 1) + 0.5
        pieces = [
            module.avatar(pixel_rays(frame.view.camera, piece[None]), frame.view).rays.over(torch.ones(3))[0]
            for piece in pixels.split(512)
        ]
        error = torch.cat(pieces) - frame.on_white()[:, rows, columns].T
        scores.append(float(psnr(error.square().mean())))
    return sum(scores) / len(scores)
