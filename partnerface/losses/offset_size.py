"""Offset size loss: the fine motion pays for its size."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.ray_batch import RayBatch
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import RenderedRays


class OffsetSize(Loss):
    """Mean squared offset in square millimetres.

    Without it local networks help inside the training range and hurt outside it.
    """

    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        return rendered.offset_size
