"""Perceptual: LPIPS of patches, against the blur that losses of single pixels settle for."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.data.batches.datasets import RayBatch
from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.losses.lpips_network import load_lpips
from partnerface.rendering.rendered_rays import MethodOutput

SMALLEST_SIDE = 31
"""Side in pixels of the smallest picture of which every layer of AlexNet has a feature."""


class Perceptual(Loss):
    """LPIPS (Zhang et al. 2018) of the patches of a batch, enlarged; left out of batches without patches.

    Where tracking is off by a pixel, the best colour of a single pixel is a mean over its neighbours: a blur.
    Features of a network forgive the shift and not the blur.

    Args:
        weight: factor of the term.
        enlargement: factor by which patches are enlarged bilinearly: small patches have more features then,
            and finer ones.

    Raises:
        UserError: the network's weights are missing.
    """

    def __init__(self, weight: Between[float, 0, 1e6] = 1.0, enlargement: Between[int, 1, 8] = 2) -> None:
        super().__init__(weight)
        self.enlargement = enlargement

    def missing(self) -> str:
        return load_lpips(fetch=False).missing

    def applies_to(self, batch: RayBatch) -> bool:
        return batch.patch_side > 0 and not self.missing()

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        network = load_lpips(fetch=False).network
        if network is None:
            raise UserError(f"--model.losses.perceptual: {self.missing()}; or take the loss out")
        side = max(self.enlargement * batch.patch_side, SMALLEST_SIDE)
        # One colour behind a patch: the losses of single pixels have another behind each.
        behind = batch.background[:, :1].expand_as(batch.rgb)
        colours = rendered.rays.over(behind), replace(batch, background=behind).target()
        pictures = (batch.patches(colour) for colour in colours)
        enlarged = (
            functional.interpolate(picture, size=(side, side), mode="bilinear") for picture in pictures
        )
        return network.on(batch.rgb.device)(*enlarged).mean()
