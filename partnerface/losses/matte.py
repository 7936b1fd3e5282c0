"""Matte loss: rendered opacity against the matte."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import Rendering


class Matte(Loss):
    """Mean absolute difference of opacity and matte."""

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        return (rendered.rays.opacity - batch.alpha).abs().mean()
