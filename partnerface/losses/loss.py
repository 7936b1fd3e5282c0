"""Loss: the interface of training terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from partnerface.compute.ranges import Between
from partnerface.data.batches.datasets import RayBatch
from partnerface.errors import UserError
from partnerface.rendering.rendered_rays import DeformationStatistics, MethodOutput


class Loss(nn.Module, ABC):
    """One term of the objective; the module multiplies it by ``weight``.

    Args:
        weight: factor of the term.
    """

    def __init__(self, weight: Between[float, 0, 1e6] = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def missing(self) -> str:
        """Why the term has no value, for instance missing weights of a network; empty if it has.

        Called before the first step, which says so.
        """
        return ""

    def applies_to(self, batch: RayBatch) -> bool:
        """Whether the term has a value for such a batch; it is left out of the objective of others."""
        del batch
        return True

    @abstractmethod
    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        """The unweighted term, a scalar.

        Args:
            rendered: F frames of R rays, as the method renders them.
            batch: what they should look like.
        """


def deformation_statistics(rendered: MethodOutput, loss: str) -> DeformationStatistics:
    """The statistics that a regulariser of the fine motion needs.

    Raises:
        UserError: the method has no deformation; names the loss by its key ``loss``.
    """
    if rendered.deformation is None:
        raise UserError(f"--model.losses.{loss}: this method has no deformation; take the loss out")
    return rendered.deformation


def weighted_sum(
    losses: Mapping[str, Loss], rendered: MethodOutput, batch: RayBatch, with_all: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """The complete objective, and its unweighted terms by name.

    A term of weight 0 takes no part in gradients, whatever its value; without ``with_all`` it is left out.

    Raises:
        UserError: no term with a weight applies to the batch.
    """
    applied = {name: loss for name, loss in losses.items() if loss.applies_to(batch)}
    terms = {name: loss(rendered, batch) for name, loss in applied.items() if with_all or loss.weight}
    weighted = [(losses[name].weight, value) for name, value in terms.items() if losses[name].weight]
    if not weighted:
        raise UserError(
            "model.losses: no term with a weight applies to rays without patches; add photometric"
        )
    (weight, value), *others = weighted
    total = weight * value
    for weight, value in others:
        total = torch.add(total, value, alpha=weight)
    return total, terms
