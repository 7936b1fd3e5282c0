"""Offset size loss: the fine motion pays for its size."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import RenderedRays


class OffsetSize(Loss):
    """Mean squared offset in square millimetres.

    A small weight keeps offsets from growing where no picture tells. A large one forbids what there is to
    learn: at 0.001 a millimetre cost more than all that the sway of hair could gain.
    """

    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        return rendered.offset_size
