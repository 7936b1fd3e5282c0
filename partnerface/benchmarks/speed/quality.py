"""What speed costs in quality: PSNR inside the mask with and without each saving, at equal steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch.nn import functional

from partnerface.benchmarks.method_under_test import OURS, BuildMethod, MethodUnderTest
from partnerface.benchmarks.speed.convergence import FRAMES, head_psnr
from partnerface.benchmarks.speed.rendering import FRAME_SIZE
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.result_row import ResultRow, Target
from partnerface.benchmarks.speed.training_slices import train_steps
from partnerface.data.regions import HEAD
from partnerface.evaluation.metrics import psnr

SEEDS = (0, 1, 2)
STEPS = 800
LOSS = Target("<=", 0.1)
DEFORMATION = "--model.avatar.deformation.init_args"


@dataclass(frozen=True)
class Training:
    """How our method is trained.

    Attributes:
        flags: of ``partnerface fit``.
        pruned: whether its occupancy is learned.
    """

    flags: tuple[str, ...] = ()
    pruned: bool = True


AS_SHIPPED = "as_shipped"
TRAININGS = {
    AS_SHIPPED: Training(),
    "learned_occupancy": Training(pruned=False),
    "top_k_parts": Training((f"{DEFORMATION}.top_k=8",)),
}
"""As shipped, and without one of its savings: all candidate cells, all parts at every point."""


def quality_rows(build: BuildMethod, threads: int, report: SpeedReport) -> list[ResultRow]:
    """Train with every seed, as shipped and without each saving; the report's trainings are not repeated."""
    found: dict[str, dict[str, Any]] = report.sections.setdefault("quality", {})
    for seed in SEEDS:
        for name, training in TRAININGS.items():
            scores = found.setdefault(name, {})
            if str(seed) in scores:
                continue
            method = build(OURS, f"--seed_everything={seed}", *training.flags)
            callbacks = [method.refresh] if training.pruned else []
            train_steps(method, STEPS, threads=threads, share_done=None, callbacks=callbacks)
            scores[str(seed)] = head_psnr(method)
            if name == AS_SHIPPED:
                found.setdefault("voxels", {})[str(seed)] = voxels_loss(method)
            report.save()
    return saving_rows(found)


def saving_rows(found: dict[str, dict[str, float]]) -> list[ResultRow]:
    """Decibels that each saving loses, the mean over the seeds."""
    shipped = found[AS_SHIPPED]
    losses = {name: [found[name][seed] - shipped[seed] for seed in shipped] for name in TRAININGS}
    losses = {f"quality_{name}": values for name, values in losses.items() if name != AS_SHIPPED}
    losses["quality_voxels_of_a_picture"] = [*found["voxels"].values()]
    note = f"head mask, {STEPS} steps of training, mean of {len(shipped)} seeds, paired"
    return [ResultRow(name, fmean(values), "dB lost", LOSS, note, values) for name, values in losses.items()]


@torch.no_grad()
def voxels_loss(method: MethodUnderTest) -> float:
    """PSNR in dB that large pictures lose by voxels, over some validation frames.

    Pictures of ``FRAME_SIZE`` pixels a side are averaged down to the size of the data: at that size a
    picture has too few samples for voxels.
    """
    avatar, data = method.module.avatar.eval(), method.data
    losses = []
    for index in data.val_frames[:: max(len(data.val_frames) // FRAMES, 1)][:FRAMES]:
        frame = data.evaluation_frame(index)
        large = frame.view.resized(FRAME_SIZE, FRAME_SIZE)
        on_head = torch.isin(frame.labels, torch.tensor([int(r) for r in HEAD], dtype=torch.uint8))
        on_head &= frame.matte > 0.5
        scores = []
        for exact in (True, False):
            picture = avatar.render_image(large, exact=exact).on_white()
            small = functional.adaptive_avg_pool2d(picture, frame.matte.shape)
            scores.append(float(psnr((small - frame.on_white())[:, on_head].square().mean())))
        losses.append(scores[0] - scores[1])
    return fmean(losses)
