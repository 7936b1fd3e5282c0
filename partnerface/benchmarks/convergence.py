"""How soon a method is as good as it gets: PSNR inside the mask against CPU seconds of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from partnerface.benchmarks.method_under_test import PEER, PEER_RAYS, BuildMethod, MethodUnderTest
from partnerface.benchmarks.result_row import ResultRow, Target, missing_row
from partnerface.benchmarks.speed_report import SpeedReport
from partnerface.benchmarks.training_slices import Budget, train_steps
from partnerface.cameras.rays import pixel_rays
from partnerface.data.region_labels import HEAD
from partnerface.metrics.region_metrics import psnr

BUDGETS = (60.0, 600.0)
LOSS = Target("<=", 1.0)
FRAMES, STRIDE = 6, 2
"""Frames of the validation split that are scored, and every how many pixels: NeRFace renders slowly."""


def convergence_rows(
    build: BuildMethod, methods: Sequence[str], threads: int, report: SpeedReport
) -> list[ResultRow]:
    """Train every method twice, each under its own budget; what the report holds already is not repeated."""
    found: dict[str, dict[str, Any]] = report.sections.setdefault("convergence", {})
    for method in methods:
        flags = [PEER_RAYS] if method == PEER else []
        for budget in BUDGETS:
            entries = found.setdefault(method, {})
            if f"{budget:g}" not in entries:
                entries[f"{budget:g}"] = trained_to(build(method, *flags), budget, threads)
                report.save()
    return [convergence_row(method, found[method]) for method in methods]


def trained_to(method: MethodUnderTest, budget: float, threads: int) -> dict[str, Any]:
    """Train for a budget of CPU seconds, the schedules with it, and score."""
    meter = Budget(budget)
    train_steps(method, -1, threads=threads, share_done=None, callbacks=[method.refresh, meter])
    return {"psnr": head_psnr(method), "cpu_seconds": meter.spent, "steps": meter.steps}


def convergence_row(method: str, entries: dict[str, Any]) -> ResultRow:
    """What a short training loses against a long one, in dB."""
    short, long = (entries.get(f"{budget:g}") for budget in BUDGETS)
    name, unit = f"convergence_{method}", "dB lost"
    note = f"head mask, {BUDGETS[0]:g} against {BUDGETS[1]:g} CPU seconds of training"
    # The target is that of the method; the others stand beside it.
    target = LOSS if method == "part_deformation" else None
    if short is None or long is None:
        return missing_row(name, unit, target, "not measured")
    return ResultRow(name, long["psnr"] - short["psnr"], unit, target, note, details=entries)


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
        head, motion = data.sequence.head.select([index]), data.sequence.torso_motion[[index]]
        camera = data.camera.select([index])
        pieces = [
            module.avatar(pixel_rays(camera, piece[None]), head, motion).over(torch.ones(3))[0]
            for piece in pixels.split(512)
        ]
        error = torch.cat(pieces) - frame.on_white()[:, rows, columns].T
        scores.append(float(psnr(error.square().mean())))
    return sum(scores) / len(scores)
