"""Loss: the interface of training terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.rendering.rendered_rays import RenderedRays


class Loss(nn.Module, ABC):
    """One term of the objective; the module multiplies it by ``weight``.

    Args:
        weight: factor of the term.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    @abstractmethod
    def forward(self, rendered: RenderedRays, batch: RayBatch) -> Tensor:
        """The unweighted term, a scalar."""


def weighted_sum(
    losses: Mapping[str, Loss], rendered: RenderedRays, batch: RayBatch
) -> tuple[Tensor, dict[str, Tensor]]:
    """The complete objective, and its unweighted terms by name.

    A term of weight 0 takes no part in gradients, whatever its value.
    """
    terms = {name: loss(rendered, batch) for name, loss in losses.items()}
    weights = {name: loss.weight for name, loss in losses.items()}
    return sum(weights[name] * value for name, value in terms.items() if weights[name]), terms
