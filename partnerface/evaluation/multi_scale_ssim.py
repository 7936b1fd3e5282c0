"""MS-SSIM of images and of regions that may be small."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from partnerface.evaluation.lpips import enlarged

SMALLEST_SIDE = 176
"""Five scales halve an image four times; a window of 11 pixels must still fit in."""

LARGEST_FACTOR = 4
"""An image that needs more enlargement has no detail at the finer scales: no value."""


def multi_scale_ssim(first: Tensor, second: Tensor) -> Tensor:
    """``[B]`` MS-SSIM of images ``[B, 3, H, W]`` in [0, 1].

    Source: Wang, Simoncelli, Bovik 2003, equation 7 with its five weights; a Gaussian of 1.5 pixels. A
    negative contrast term counts as 0. An image whose shorter side is under 176 pixels is enlarged
    bilinearly to it, at most four times: under 44 pixels the value is NaN.
    """
    if min(first.shape[-2:]) * LARGEST_FACTOR < SMALLEST_SIDE:
        return first.new_full((len(first),), torch.nan)
    # torch filters each channel by itself three times as fast in this layout.
    first, second = (
        enlarged(images, SMALLEST_SIDE).contiguous(memory_format=torch.channels_last)
        for images in (first, second)
    )
    return multiscale_structural_similarity_index_measure(
        first,
        second,
        data_range=1.0,
        reduction="none",
        normalize="relu",
    )
