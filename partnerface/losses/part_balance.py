"""Part balance loss: no part may take all points, none may die."""

from __future__ import annotations

import math

from torch import Tensor

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import RenderedRays


class PartBalance(Loss):
    """Kullback-Leibler divergence of the parts' mean usage from uniform, in nats."""

    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        usage = rendered.part_usage.clamp_min(1e-6)
        return (usage * usage.log()).sum() + math.log(len(usage))
