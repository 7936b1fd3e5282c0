"""Local contrast: images without light and shade, so that a surface looks the same wherever it turns."""

from __future__ import annotations

from kornia.filters import gaussian_blur2d
from torch import Tensor

DETAIL_SIGMA = 1.0
LIGHT_SIGMA = 6.0
"""Pixels at the working size: structure between the two is compared, light and shade are not."""


def local_contrast(luminance: Tensor) -> Tensor:
    """Images ``[T, H, W]`` without light and shade: band-passed and divided by the local deviation."""
    images = luminance[:, None]

    def blur(values: Tensor, sigma: float) -> Tensor:
        size = 2 * round(2.5 * sigma) + 1
        return gaussian_blur2d(values, (size, size), (sigma, sigma), "replicate")

    detail = blur(images, DETAIL_SIGMA) - blur(images, LIGHT_SIGMA)
    deviation = (blur(detail.square(), LIGHT_SIGMA) + 1e-4).sqrt()
    return (detail / deviation)[:, 0]
