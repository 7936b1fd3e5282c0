"""Offset size loss: penalises large offsets of the fine motion."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import Loss, deformation_statistics
from partnerface.rendering.rendered_rays import Rendering


class OffsetSize(Loss):
    """Mean squared offset in square millimetres.

    A small weight keeps offsets from growing where no picture constrains them. A large one forbids what there
    is to learn: at 0.001 a millimetre cost more than all that the sway of hair could gain.
    """

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        return deformation_statistics(rendered, "offset_size").offset_size.mean()
