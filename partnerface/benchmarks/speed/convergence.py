"""How soon a method is as good as it gets: PSNR inside the mask against CPU seconds of training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log
from typing import Any

import torch

from partnerface.benchmarks.method_under_test import OURS, PEER, PEER_RAYS, BuildMethod, MethodUnderTest
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.result_row import ResultRow, Target, missing_row
from partnerface.benchmarks.speed.training_slices import Budget, ScoresOnTheWay, train_steps
from partnerface.cameras.rays import pixel_rays
from partnerface.data.regions import HEAD
from partnerface.evaluation.metrics import psnr

SHORT, LONG, CONVERGED = 60.0, 240.0, 600.0
"""CPU seconds: every method is trained for a short and a long time, ours until it hardly gains."""
LOSS = Target("<=", 1.0)
MARKS = (10.0, 20.0, 40.0, 80.0, 160.0)
"""CPU seconds at which the long training is scored on its way."""
GOAL = 28.0
"""dB inside the mask that every method's time is given for."""
FRAMES, STRIDE = 6, 2
"""Frames of the validation split that are scored, and every how many pixels: NeRFace renders slowly."""


def convergence_rows(
    build: BuildMethod, methods: Sequence[str], threads: int, report: SpeedReport
) -> list[ResultRow]:
    """Train every method under each of its budgets; what the report holds already is not repeated."""
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
    """Train for a budget of CPU seconds, the schedules with it, and score; a long one also on its way."""
    meter = Budget(budget)
    marks = MARKS if budget == LONG else ()
    curve = ScoresOnTheWay(lambda: head_psnr(method), meter, marks)
    train_steps(method, -1, threads=threads, share_done=None, callbacks=[method.refresh, meter, curve])
    score = head_psnr(method)
    return {
        "psnr": score,
        "cpu_seconds": meter.spent,
        "steps": meter.steps,
        "curve": [*curve.found, (meter.spent, score)],
    }


def time_row(method: str, entries: dict[str, Any]) -> ResultRow:
    """CPU seconds of the long training until `GOAL`, interpolated in the logarithm of time."""
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
    """What a short training of ours loses against a converged one, in dB."""
    short, converged = (entries.get(f"{budget:g}") for budget in (SHORT, CONVERGED))
    name, unit = f"convergence_{OURS}", "dB lost"
    note = f"head mask, {SHORT:g} against {CONVERGED:g} CPU seconds of training"
    if short is None or converged is None:
        return missing_row(name, unit, LOSS, "not measured")
    return ResultRow(name, converged["psnr"] - short["psnr"], unit, LOSS, note, details=entries)


@torch.no_grad()
def head_psnr(method: MethodUnderTest) -> float:
    """PSNR in dB over the pixels of the head in a grid over some validation frames, the mean over frames."""
    module, data = method.module.eval(), method.data
    frames = data.val_frames[:: max(len(data.val_frames) // FRAMES, 1)][:FRAMES]
    scores = []
    for index in frames:
        frame = data.evaluation_frame(index)
        on_head = torch.isin(frame.labels, torch.tensor([int(r) for r in HEAD], dtype=torch.uint8))
        grid = torch.zeros_like(on_head)
        grid[::STRIDE, ::STRIDE] = True
        rows, columns = (on_head & (frame.matte > 0.5) & grid).nonzero().unbind(1)
        pixels = torch.stack([columns, rows], 1) + 0.5
        pieces = [
            module.avatar(pixel_rays(frame.view.camera, piece[None]), frame.view).rays.over(torch.ones(3))[0]
            for piece in pixels.split(512)
        ]
        error = torch.cat(pieces) - frame.on_white()[:, rows, columns].T
        scores.append(float(psnr(error.square().mean())))
    return sum(scores) / len(scores)
