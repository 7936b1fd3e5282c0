"""The metrics of every test: PSNR, SSIM, MS-SSIM, LPIPS and L1, and how a run chooses others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from partnerface.errors import UserError
from partnerface.evaluation.fine_motion import CEILING_PSNR, COUNTS, SAMPLING_PSNR
from partnerface.evaluation.image_metric import HIGHEST_PSNR, ImageMetric, enlarged, masked_crops, psnr
from partnerface.evaluation.lpips import LPIPS
from partnerface.evaluation.means import TEMPORAL
from partnerface.evaluation.scores import GEOMETRY

MS_SSIM_SIDE = 176
"""Five scales halve an image four times; a window of 11 pixels must still fit in."""

MS_SSIM_LARGEST_FACTOR = 4
"""An image that needs more enlargement has no detail at the finer scales: no value."""


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """``[3, H, W]`` local SSIM of two images in [0, 1] (Wang et al. 2004: a Gaussian of 1.5 pixels)."""
    _, values = structural_similarity_index_measure(
        first[None], second[None], data_range=1.0, return_full_image=True, reduction="none"
    )
    return values[0]


def multi_scale_ssim(first: Tensor, second: Tensor) -> Tensor:
    """``[B]`` MS-SSIM of images ``[B, 3, H, W]`` in [0, 1].

    Source: Wang, Simoncelli, Bovik 2003, equation 7 with its five weights; a Gaussian of 1.5 pixels. A
    negative contrast term counts as 0. An image whose shorter side is under 176 pixels is enlarged
    bilinearly to it, at most four times: under 44 pixels the value is NaN.
    """
    if min(first.shape[-2:]) * MS_SSIM_LARGEST_FACTOR < MS_SSIM_SIDE:
        return first.new_full((len(first),), torch.nan)
    # torch filters each channel by itself three times as fast in this layout.
    first, second = (
        enlarged(images, MS_SSIM_SIDE).contiguous(memory_format=torch.channels_last)
        for images in (first, second)
    )
    return multiscale_structural_similarity_index_measure(
        first, second, data_range=1.0, reduction="none", normalize="relu"
    )


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio in dB of the mean squared error over the pixels and three channels."""

    unit = "dB"
    higher_is_better = True
    ideal = HIGHEST_PSNR
    definition = f"of the mean squared error over the region's pixels; {HIGHEST_PSNR:g} dB at most"

    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        return psnr(_inside(rendered - target, mask).pow(2).mean())


class L1(ImageMetric):
    """Mean absolute error over the pixels and three channels, of colours in [0, 1]."""

    higher_is_better = False
    ideal = 0.0
    definition = "mean absolute error over the region's pixels, colours in [0, 1]"

    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        return _inside(rendered - target, mask).abs().mean()


class SSIM(ImageMetric):
    """Structural similarity; in a region the mean of the whole picture's SSIM map over its pixels."""

    higher_is_better = True
    ideal = 1.0
    definition = (
        "Wang et al. 2004, Gaussian of 1.5 px; in a region the mean of the full frame's map over its pixels"
    )

    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        return self.per_region(rendered, target, [mask])[0]

    def per_region(self, rendered: Tensor, target: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
        similarity = ssim_map(rendered, target)
        return torch.stack([_inside(similarity, mask).mean() for mask in masks])


class MultiScaleSSIM(ImageMetric):
    """`multi_scale_ssim` of the picture, or of a region's bounding box with white outside the region."""

    higher_is_better = True
    ideal = 1.0
    in_validation = False
    definition = (
        "five scales (Wang et al. 2003), Gaussian of 1.5 px, of the region's bounding box, white outside the "
        f"region; enlarged bilinearly if its shorter side is under {MS_SSIM_SIDE} px; null under "
        f"{MS_SSIM_SIDE // MS_SSIM_LARGEST_FACTOR} px"
    )

    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        return multi_scale_ssim(*masked_crops((rendered, target), mask))[0]


TAKEN_NAMES = (TEMPORAL, *GEOMETRY, CEILING_PSNR, SAMPLING_PSNR, COUNTS)
"""Names of ``metrics.json`` for what is no image metric."""


def _inside(values: Tensor, mask: Tensor | None) -> Tensor:
    """Values ``[3, H, W]`` as they are, or ``[3, N]`` of the N pixels of a mask."""
    return values if mask is None else values[:, mask]


def chosen_metrics(changes: Mapping[str, ImageMetric | None] | None = None) -> dict[str, ImageMetric]:
    """The metrics of a run by the name under which they are reported.

    Args:
        changes: metrics to add to the default ones or, under their names, to put in their place; None
            leaves out the metric of that name.

    Raises:
        UserError: a name is no identifier or that of another number of ``metrics.json``, or a class lacks
            an attribute of the interface.
    """
    default = {"psnr": PSNR(), "ssim": SSIM(), "ms_ssim": MultiScaleSSIM(), "lpips": LPIPS(), "l1": L1()}
    for name in changes or ():
        if not name.isidentifier() or name in TAKEN_NAMES:
            raise UserError(
                f"--model.metrics: {name!r} is taken or is not a word of letters, digits and underscores"
            )
    for name, metric in (changes or {}).items():
        absent = [key for key in ("higher_is_better", "ideal", "definition") if not hasattr(metric, key)]
        if metric is not None and absent:
            raise UserError(f"--model.metrics.{name}: {type(metric).__name__} has no {absent[0]!r}")
    return {name: metric for name, metric in (default | dict(changes or {})).items() if metric is not None}
