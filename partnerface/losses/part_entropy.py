"""Part entropy loss: each point should belong to few parts."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import RenderedRays


class PartEntropy(Loss):
    """Mean entropy of the samples' part weights, in nats: 0 where each belongs to one part alone.

    Raises:
        UserError: the method has no parts.
    """

    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        if rendered.part_entropy is None:
            raise UserError("--model.losses.part_entropy: this method has no parts; take the loss out")
        return rendered.part_entropy
