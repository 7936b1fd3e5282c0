"""PSNR inside the head mask with and without each saving that makes the method fast, at equal steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch.nn import functional

from partnerface.benchmarks.method_under_test import OURS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.convergence import head_psnr, scored_frames
from partnerface.benchmarks.speed.rendering import FRAME_SIZE
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.result_row import ResultRow, Target
from partnerface.benchmarks.speed.training_slices import train_steps
from partnerface.evaluation.metrics import psnr

SEEDS = (0, 1, 2)
STEPS = 800
SAVING_LOSS = Target("<=", 0.1)
"""dB that a saving may lose."""
DEFORMATION_FLAG = "--model.avatar.deformation.init_args"


@dataclass(frozen=True)
class TrainingSetup:
    """How our method is trained.

    Attributes:
        flags: of ``partnerface fit``.
        pruned: whether its occupancy is pruned to what it has learned.
    """

    flags: tuple[str, ...] = ()
    pruned: bool = True


AS_SHIPPED = "as_shipped"
TRAININGS = {
    AS_SHIPPED: TrainingSetup(),
    "learned_occupancy": TrainingSetup(pruned=False),
    "top_k_parts": TrainingSetup((f"{DEFORMATION_FLAG}.top_k=8",)),
}
"""As shipped, and without one saving each: all candidate cells, all parts at every point."""


def quality_rows(build: MethodBuilder, threads: int, report: SpeedReport) -> list[ResultRow]:
    """Train all of `TRAININGS` with every seed, unless the report already holds the result."""
    found: dict[str, dict[str, Any]] = report.sections.setdefault("quality", {})
    for seed in SEEDS:
        for name, training in TRAININGS.items():
            scores = found.setdefault(name, {})
            if str(seed) in scores:
                continue
            method = build(OURS, f"--seed_everything={seed}", *training.flags)
            callbacks = [method.refresh] if training.pruned else []
            train_steps(method, STEPS, threads=threads, progress=0.0, callbacks=callbacks)
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
    note = f"head mask, {STEPS} steps of training, mean of {len(shipped)} seeds, paired"
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
            picture = avatar.render_image(large, exact=exact).on_white()
            small = functional.adaptive_avg_pool2d(picture, frame.matte.shape)
            scores.append(float(psnr((small - frame.on_white())[:, on_head].square().mean())))
        losses.append(scores[0] - scores[1])
    return fmean(losses)
