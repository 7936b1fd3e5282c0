"""Offset smoothness loss: the fine motion may not tear what lies close together."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import RenderedRays


class OffsetSmoothness(Loss):
    """Mean squared change of the offset per distance between neighbouring samples of a ray, no unit.

    The directional form of Nerfies' elastic term (Park et al. 2021, eq. 4) without a second evaluation.

    Raises:
        UserError: the method moves nothing.
    """

    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        if rendered.offset_roughness is None:
            raise UserError("--model.losses.offset_smoothness: this method has no offsets; take the loss out")
        return rendered.offset_roughness
