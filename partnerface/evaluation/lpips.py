"""LPIPS: the metric."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.evaluation.image_metric import ImageMetric, enlarged, masked_crops
from partnerface.losses.lpips_network import load_lpips

SMALLEST_SIDE = 64
"""Below this the last feature maps have hardly a pixel; smaller images are enlarged."""


class LPIPS(ImageMetric):
    """Perceptual distance of the picture, or of a region's bounding box with white outside the region."""

    higher_is_better = False
    ideal = 0.0
    in_validation = False
    definition = (
        "Zhang et al. 2018, version 0.1 on AlexNet, of the region's bounding box, white outside the region; "
        f"enlarged bilinearly if its shorter side is under {SMALLEST_SIDE} px"
    )

    def missing(self) -> str:
        return load_lpips().missing

    @torch.no_grad()
    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        crops = (enlarged(crop, SMALLEST_SIDE) for crop in masked_crops((rendered, target), mask))
        return load_lpips().network.on(rendered.device)(*crops)[0]
