"""Regions of a picture: the labels of its pixels, and where the forehead lies."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import reduce

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.landmark_geometry import FOREHEAD_RING


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


WHOLE_FACE = (Region.FACE, Region.EYES, Region.MOUTH)
HEAD = (*WHOLE_FACE, Region.HAIR, Region.NECK)

LABELLED_REGIONS: dict[str, tuple[Region, ...]] = {
    "head_mask": HEAD,
    "matte": tuple(Region),
    "eyes": (Region.EYES,),
    "mouth": (Region.MOUTH,),
}
"""Labels of the regions that label images hold; a region holds matte pixels only."""

FULL_FRAME = "full_frame"
"""In place of a region: all pixels."""
WITHOUT_TORSO = "without_torso"
"""In place of a region: all pixels, those labelled torso white in render and target alike."""

FOREHEAD = "forehead"
EVALUATION_REGIONS = (*LABELLED_REGIONS, FOREHEAD)
"""Regions that are scored beside the full frame. Label images need not know the forehead: it is drawn
from the tracked head (`forehead_mask`), so that datasets of any age have one."""

NEAREST_FRAME = "nearest_frame"
"""In place of a region: the scores of the training frame whose head parameters are nearest."""

NEAREST_FRAME_REGIONS = ("head_mask", "matte")
"""Regions of the nearest-training-frame baseline: its eyes and mouth lie elsewhere than the target's."""

GEOMETRY_REGIONS = ("head_mask", "eyes", "mouth", FOREHEAD)
"""Regions whose surface is scored where it is known: those of the head."""

MATTE_THRESHOLD = 0.5
"""A pixel belongs to the person where its matte is above this."""


def in_regions(labels: Tensor, regions: Sequence[Region]) -> Tensor:
    """Bool for labels of any shape, uint8: whether they are of one of the regions."""
    # Not a tensor of regions: it would be copied to a GPU, for which training would wait.
    return reduce(torch.logical_or, (labels == region for region in regions))


def region_masks(matte: Tensor, labels: Tensor, forehead: Tensor) -> dict[str, Tensor]:
    """``[H, W]`` bool for each of `EVALUATION_REGIONS`.

    ``matte`` is ``[H, W]`` in [0, 1], ``labels`` ``[H, W]`` uint8 (`Region`), ``forehead`` ``[H, W]`` bool:
    where it would be seen without hair over it.
    """
    person = matte > MATTE_THRESHOLD
    masks = {name: person & in_regions(labels, wanted) for name, wanted in LABELLED_REGIONS.items()}
    return masks | {FOREHEAD: person & forehead & (labels == Region.FACE)}


@torch.no_grad()
def forehead_mask(head_model: HeadModel, head: HeadParameters, camera: Camera) -> Tensor:
    """``[H, W]`` bool: the forehead of one frame, by the head model's embedded landmarks.

    Hair over it and what a turned head hides are not left out: label images hold both. A head model without
    a landmark embedding has no forehead.
    """
    height, width = camera.height, camera.width
    if not len(head_model.asset.landmark_faces):
        return torch.zeros(height, width, dtype=torch.bool, device=head.rotation.device)
    landmarks = landmark_points(head_model, head_model(head).vertices[0])
    pixels, depth = camera.project(landmarks[None, list(FOREHEAD_RING)])
    image = Image.new("1", (width, height))
    if (depth > 0).all():
        # Pillow's pixels have their centres at whole numbers.
        ImageDraw.Draw(image).polygon([(x - 0.5, y - 0.5) for x, y in pixels[0].tolist()], fill=1)
    return torch.from_numpy(np.array(image)).to(head.rotation.device)
