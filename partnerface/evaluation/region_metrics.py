"""PSNR, SSIM, MS-SSIM, LPIPS and L1 of one image, over the whole frame or inside a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

HIGHEST_PSNR = 100.0
"""PSNR in dB of identical images, whose true value is infinite and would spoil every mean."""

METRICS = ("psnr", "ssim", "ms_ssim", "lpips", "l1")

Comparison = Callable[[Tensor, Tensor], Tensor]
"""Two images ``[1, 3, H, W]`` in [0, 1] to one value ``[1]``, NaN where it has none."""


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """``[3, H, W]`` local SSIM of two images in [0, 1] (Wang et al. 2004: a Gaussian of 1.5 pixels)."""
    _, values = structural_similarity_index_measure(
        first[None], second[None], data_range=1.0, return_full_image=True, reduction="none"
    )
    return values[0]


def image_metrics(
    render: Tensor,
    target: Tensor,
    similarity: Tensor,
    lpips: Comparison | None,
    ms_ssim: Comparison | None = None,
) -> Tensor:
    """Metrics of the whole frame.

    Args:
        render: ``[3, H, W]`` in [0, 1].
        target: ``[3, H, W]`` in [0, 1].
        similarity: ``[3, H, W]`` their `ssim_map`.
        lpips: the network, or None.
        ms_ssim: likewise.

    Returns:
        ``[5]`` in the order of `METRICS`; NaN for what is None. PSNR is that of the image's mean
        squared error, 100 dB at most.
    """
    return _stacked(render - target, similarity, (render[None], target[None]), lpips, ms_ssim)


def masked_metrics(
    render: Tensor,
    target: Tensor,
    mask: Tensor,
    similarity: Tensor,
    lpips: Comparison | None,
    ms_ssim: Comparison | None = None,
) -> Tensor:
    """Metrics inside a mask.

    PSNR and L1 are means over the mask's pixels; SSIM is the mean of the whole image's SSIM map over
    them; LPIPS and MS-SSIM see the mask's bounding box, white outside the mask in both images.

    Args:
        render: ``[3, H, W]`` in [0, 1].
        target: ``[3, H, W]`` in [0, 1].
        mask: ``[H, W]`` bool.
        similarity: ``[3, H, W]`` their `ssim_map`.
        lpips: the network, or None.
        ms_ssim: likewise.

    Returns:
        ``[5]`` in the order of `METRICS`; all NaN for an empty mask.
    """
    if not mask.any():
        return _missing(render).expand(len(METRICS))
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    box = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    crops = [torch.where(mask, image, 1.0)[box][None] for image in (render, target)]
    return _stacked((render - target)[:, mask], similarity[:, mask], crops, lpips, ms_ssim)


def _stacked(
    error: Tensor,
    similarity: Tensor,
    crops: Sequence[Tensor],
    lpips: Comparison | None,
    ms_ssim: Comparison | None,
) -> Tensor:
    compared = [compare(*crops)[0] if compare else _missing(error) for compare in (ms_ssim, lpips)]
    return torch.stack([psnr(error.pow(2).mean()), similarity.mean(), *compared, error.abs().mean()])


def psnr(mean_squared_error: Tensor) -> Tensor:
    """PSNR in dB for values in [0, 1], 100 dB at most."""
    return (-10 * torch.log10(mean_squared_error.clamp_min(1e-30))).clamp_max(HIGHEST_PSNR)


def _missing(like: Tensor) -> Tensor:
    return torch.full((), torch.nan, device=like.device)
