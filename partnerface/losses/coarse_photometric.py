"""Photometric loss of a first rendering pass."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.data.batches.ray_batch import RayBatch
from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.losses.photometric import Photometric
from partnerface.rendering.rendered_rays import Rendering


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

    def forward(self, rendered: Rendering, batch: RayBatch) -> Tensor:
        if rendered.coarse is None:
            raise UserError("--model.losses.coarse_photometric: this method has one pass; take the loss out")
        return self.photometric(replace(rendered, rays=rendered.coarse), batch)
