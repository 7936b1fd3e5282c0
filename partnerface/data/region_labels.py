"""Region labels: what each pixel of a frame shows."""

from __future__ import annotations

from enum import IntEnum


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

EVALUATION_REGIONS: dict[str, tuple[Region, ...]] = {
    "head_mask": HEAD,
    "matte": tuple(Region),
    "eyes": (Region.EYES,),
    "mouth": (Region.MOUTH,),
}
"""Labels of the regions that are scored beside the full frame; a region holds matte pixels only."""

NEAREST_FRAME_REGIONS = {name: EVALUATION_REGIONS[name] for name in ("head_mask", "matte")}
"""Regions of the nearest-training-frame baseline: its eyes and mouth lie elsewhere than the target's."""
