"""ImageMetric: the interface of metrics that compare a rendered picture with its target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


class ImageMetric(ABC):
    """Compares a rendered picture with its target, over the whole picture or inside a region.

    A subclass gives the class attributes and `per_image`. An entry ``NAME: {class_path: ...}`` of
    ``model.metrics`` puts it, under that name, into ``metrics.json``, its table and the validation log.

    Attributes:
        unit: unit of the values, empty for a plain number.
        higher_is_better: direction in which pictures are better.
        ideal: value of a picture that equals its target.
        definition: one line for ``metrics.json``: what the value is, with its source.
        in_validation: whether it is cheap enough to be computed while training, not in tests alone.
    """

    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool]
    ideal: ClassVar[float]
    definition: ClassVar[str]
    in_validation: ClassVar[bool] = True

    def missing(self) -> str:
        """Why the metric has no values, for instance missing weights; empty if it has.

        Called before the first picture.
        """
        return ""

    @abstractmethod
    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Compare one picture with its target.

        Args:
            rendered: ``[3, H, W]`` over white, in [0, 1].
            target: ``[3, H, W]`` over white, in [0, 1].
            mask: ``[H, W]`` bool, at least one pixel of it true; None for the whole picture.

        Returns:
            A scalar, NaN where the picture or the region has no value.
        """

    def per_region(self, rendered: Tensor, target: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
        """``[R]`` values of R masks, as `per_image` gives them; override it to share work between regions."""
        return torch.stack([torch.as_tensor(self.per_image(rendered, target, mask)) for mask in masks])


HIGHEST_PSNR = 100.0
"""PSNR in dB of identical images, whose true value is infinite and would spoil every mean."""


def psnr(mean_squared_error: Tensor) -> Tensor:
    """PSNR in dB for values in [0, 1], 100 dB at most."""
    return (-10 * torch.log10(mean_squared_error.clamp_min(1e-30))).clamp_max(HIGHEST_PSNR)


def masked_crops(images: Sequence[Tensor], mask: Tensor | None) -> list[Tensor]:
    """Images ``[3, H, W]`` cut to the bounding box of a mask, white outside the mask: ``[1, 3, h, w]`` each.

    For metrics that look at neighbourhoods and therefore need rectangles. Without a mask the images are
    whole.
    """
    if mask is None:
        return [image[None] for image in images]
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    box = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    return [torch.where(mask, image, 1.0)[box][None] for image in images]


def enlarged(images: Tensor, smallest_side: int) -> Tensor:
    """Images ``[B, 3, H, W]``, enlarged bilinearly if their shorter side has fewer pixels than that."""
    scale = smallest_side / min(images.shape[-2:])
    if scale <= 1:
        return images
    size = [round(side * scale) for side in images.shape[-2:]]
    return functional.interpolate(images, size, mode="bilinear", align_corners=False)
