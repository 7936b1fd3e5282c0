"""Loss: the interface of training terms."""

from __future__ import annotations

from torch import Tensor, nn

from partnerface.data.ray_batch import RayBatch
from partnerface.rendering.rendered_rays import RenderedRays


class Loss(nn.Module):
    """One term of the objective; the module multiplies it by ``weight``.

    Args:
        weight: factor of the term.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        """The unweighted term, a scalar."""
        raise TypeError(f"{type(self).__name__} defines no forward")
