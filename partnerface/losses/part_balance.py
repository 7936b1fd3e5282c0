"""Part balance loss: keeps every part in use."""

from __future__ import annotations

import math

from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import Loss, deformation_statistics
from partnerface.rendering.rendered_rays import Rendering


class PartBalance(Loss):
    """Kullback-Leibler divergence of the parts' mean usage from uniform, in nats."""

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        usage = deformation_statistics(rendered, "part_balance").part_usage.mean(0).clamp_min(1e-6)
        return (usage * usage.log()).sum() + math.log(len(usage))
