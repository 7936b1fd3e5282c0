"""Offset smoothness loss: penalises offsets that differ between close points."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import Loss, deformation_statistics
from partnerface.rendering.rendered_rays import Rendering


class OffsetSmoothness(Loss):
    """Mean squared change of the offset per distance between neighbouring samples of a ray, no unit.

    The directional form of Nerfies' elastic term (Park et al. 2021, eq. 4) without a second evaluation.

    Raises:
        UserError: the method moves nothing.
    """

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        return deformation_statistics(rendered, "offset_smoothness").offset_roughness.mean()
