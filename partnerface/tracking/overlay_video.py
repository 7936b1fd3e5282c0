"""Overlay frames: outline of the posed mesh, detected and fitted landmarks over the picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from partnerface.data.region_labels import Region

OUTLINE = (0, 220, 0)
DETECTED = (255, 40, 40)
FITTED = (255, 230, 0)


def overlay_frame(
    image: np.ndarray, regions: np.ndarray, detected: np.ndarray | None, fitted: np.ndarray
) -> np.ndarray:
    """Draw the tracking over one frame.

    Args:
        image: ``[H, W, 3]`` uint8.
        regions: ``[H, W]`` regions of the posed mesh; their borders are drawn green.
        detected: ``[K, 2]`` detected landmarks in pixels (red), None where no face was found.
        fitted: ``[K, 2]`` fitted landmarks in pixels (yellow).
    """
    canvas = image.copy()
    border = np.zeros(regions.shape, bool)
    shown = np.where(regions == Region.TORSO, 0, regions)
    border[:, 1:] |= shown[:, 1:] != shown[:, :-1]
    border[1:] |= shown[1:] != shown[:-1]
    canvas[border] = OUTLINE
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    if detected is None:
        draw.text((8, 8), "no face found", fill=DETECTED)
    else:
        for x, y in detected.tolist():
            draw.rectangle((x - 1, y - 1, x + 0.5, y + 0.5), fill=DETECTED)
        draw.point([tuple(point) for point in fitted.tolist()], fill=FITTED)
    return np.asarray(picture)
