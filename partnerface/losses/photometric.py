"""Photometric loss: rendered colour against the frame."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.data.batches.ray_batch import RayBatch
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import Rendering


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

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        colour = rendered.rays.over(batch.background)
        error = functional.huber_loss(colour, batch.target(), reduction="none", delta=self.delta)
        return (error.mean(-1) * batch.loss_weight).sum() / batch.loss_weight.sum().clamp_min(1e-9)
