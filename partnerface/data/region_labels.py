"""Region labels: what each pixel of a frame shows."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor


class Region(IntEnum):
    """Values of the label images in a dataset's ``labels`` folder.

    The head is everything above the neck line: `HEAD` lists it. Eyes and mouth are those of the
    tracked head model, widened by a few pixels, so that evaluation crops do not depend on a render.
    """

    BACKGROUND = 0
    FACE = 1
    EYES = 2
    MOUTH = 3
    HAIR = 4
    NECK = 5
    TORSO = 6


HEAD = (Region.FACE, Region.EYES, Region.MOUTH, Region.HAIR, Region.NECK)

LABELLED_REGIONS: dict[str, tuple[Region, ...]] = {
    "head_mask": HEAD,
    "matte": tuple(Region),
    "eyes": (Region.EYES,),
    "mouth": (Region.MOUTH,),
}
"""Labels of the regions that label images hold; a region holds matte pixels only."""

FOREHEAD = "forehead"
EVALUATION_REGIONS = (*LABELLED_REGIONS, FOREHEAD)
"""Regions that are scored beside the full frame. Label images need not know the forehead: it is drawn
from the tracked head (`forehead_region`), so that datasets of any age have one."""

NEAREST_FRAME_REGIONS = ("head_mask", "matte")
"""Regions of the nearest-training-frame baseline: its eyes and mouth lie elsewhere than the target's."""

GEOMETRY_REGIONS = ("head_mask", "eyes", "mouth", FOREHEAD)
"""Regions whose surface is scored where it is known: those of the head."""

MATTE_THRESHOLD = 0.5
"""A pixel belongs to the person where its matte is above this."""


def region_masks(matte: Tensor, labels: Tensor, forehead: Tensor) -> dict[str, Tensor]:
    """``[H, W]`` bool for each of `EVALUATION_REGIONS`.

    Args:
        matte: ``[H, W]`` in [0, 1].
        labels: ``[H, W]`` uint8, values of `Region`.
        forehead: ``[H, W]`` bool, where the forehead would be seen without hair over it.
    """
    person = matte > MATTE_THRESHOLD
    masks = {
        name: person & torch.isin(labels, torch.tensor(wanted).to(labels))
        for name, wanted in LABELLED_REGIONS.items()
    }
    return masks | {FOREHEAD: person & forehead & (labels == Region.FACE)}
