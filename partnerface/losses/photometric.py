"""Losses against the frame's pixels: colour of the final and of a first pass, and the matte."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.data.batches.datasets import RayBatch
from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import MethodOutput


class Photometric(Loss):
    """Huber loss of the colour over a random background, weighted per ray.

    The random background (INSTA) is the cheapest cure for floaters: no colour of the field can stand
    in for a background that changes with every step.

    Args:
        weight: factor of the term.
        delta: colour error at which the loss turns from square to linear.
    """

    def __init__(self, weight: Between[float, 0, 1e6] = 1.0, delta: Between[float, 1e-12, 1e6] = 0.1) -> None:
        super().__init__(weight)
        self.delta = delta

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        colour = rendered.rays.over(batch.background)
        error = functional.huber_loss(colour, batch.target(), reduction="none", delta=self.delta)
        return (error.mean(-1) * batch.loss_weight).sum() / batch.loss_weight.sum().clamp_min(1e-9)


class CoarsePhotometric(Loss):
    """`Photometric` on the first of two passes (NeRF, Mildenhall et al. 2020, eq. 6).

    Without it nothing teaches the coarse field where the head is.

    Args:
        weight: factor of the term.
        delta: colour error at which the loss turns from square to linear.

    Raises:
        UserError: the method has one pass only.
    """

    def __init__(self, weight: Between[float, 0, 1e6] = 1.0, delta: Between[float, 1e-12, 1e6] = 0.1) -> None:
        super().__init__(weight)
        self.photometric = Photometric(delta=delta)

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        if rendered.coarse is None:
            raise UserError("--model.losses.coarse_photometric: this method has one pass; take the loss out")
        return self.photometric(replace(rendered, rays=rendered.coarse), batch)


class Matte(Loss):
    """Mean absolute difference of opacity and matte."""

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        return (rendered.rays.opacity - batch.alpha).abs().mean()
