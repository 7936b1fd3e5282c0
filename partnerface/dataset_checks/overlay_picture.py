"""The overlay picture: the posed head drawn over frames, for the eye to judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from partnerface.data.region_labels import Region
from partnerface.data.split_samples import spread_evenly
from partnerface.dataset_checks.projection_check import ProjectedHead

COLUMNS, MOST_PICTURES = 4, 12
TINT = {Region.FACE: (0, 200, 0), Region.EYES: (40, 120, 255), Region.HAIR: (255, 170, 0)}
TINT_SHARE = 0.25


def overlay_picture(heads: Sequence[ProjectedHead]) -> np.ndarray:
    """``[H, W, 3]`` uint8: up to twelve frames, face green, eyes blue, scalp orange, with their borders."""
    shown = [heads[k] for k in spread_evenly(range(len(heads)), MOST_PICTURES)]
    height, width = shown[0].image.shape[:2]
    columns = min(COLUMNS, len(shown))
    sheet = np.zeros((math.ceil(len(shown) / columns) * height, columns * width, 3), np.uint8)
    for k, head in enumerate(shown):
        row, column = divmod(k, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = _tinted(head)
    return sheet


def _tinted(head: ProjectedHead) -> np.ndarray:
    canvas = head.image.astype(np.float32)
    for region, colour in TINT.items():
        mask = head.regions == region
        canvas[mask] += TINT_SHARE * (np.array(colour, np.float32) - canvas[mask])
        canvas[mask & _border(mask)] = colour
    picture = Image.fromarray(canvas.round().astype(np.uint8))
    ImageDraw.Draw(picture).text((4, 4), f"frame {head.frame}", fill=(255, 40, 40))
    return np.asarray(picture)


def _border(mask: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour outside the mask."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return ~inside
