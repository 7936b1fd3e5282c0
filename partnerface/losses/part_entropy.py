"""Part entropy loss: each point should belong to few parts."""

from __future__ import annotations

from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import Loss, deformation_statistics
from partnerface.rendering.rendered_rays import Rendering


class PartEntropy(Loss):
    """Mean entropy of the samples' part weights, in nats: 0 where each belongs to one part alone.

    Raises:
        UserError: the method has no parts.
    """

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        return deformation_statistics(rendered, "part_entropy").part_entropy.mean()
