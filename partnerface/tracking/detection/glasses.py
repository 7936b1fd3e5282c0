"""Whether the person wears glasses, by the line of their bridge across the ridge of the nose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from partnerface.tracking.alignment.pose_step import sample_planes

INNER_EYE_CORNERS, NOSE_TIP = (133, 362), 4
"""Right and left; the landmark at the tip of the nose."""

ROWS, COLUMNS = 40, 9
ABOVE, BELOW, HALF_WIDTH = 0.35, 0.45, 0.12
"""Extent of the patch on the ridge, from the middle of the inner corners of the eyes, in their distances."""

GLASSES_CONTRAST = 0.12
"""`bridge_contrast` from which glasses are worn, median over a clip: at most 0.06 on four clips without, and
at least 0.19 with thin and light frames painted into them."""

GLASSES_FRAMES = 30
"""Frames, spread over the clip, in which glasses are looked for."""


def bridge_contrast(image: np.ndarray, landmarks: np.ndarray) -> float:
    """Depth of the darkest or brightest line across the ridge of the nose, as a share of its brightness.

    Args:
        image: ``[H, W, 3]`` uint8.
        landmarks: ``[478, 3]`` in pixels.
    """
    right, left = landmarks[list(INNER_EYE_CORNERS), :2]
    middle, across = (right + left) / 2, left - right
    down = landmarks[NOSE_TIP, :2] - middle
    down = down / np.linalg.norm(down) * np.linalg.norm(across)
    rows = np.linspace(-ABOVE, BELOW, ROWS)[:, None, None] * down
    columns = np.linspace(-HALF_WIDTH, HALF_WIDTH, COLUMNS)[None, :, None] * across
    places = torch.from_numpy((middle + rows + columns).reshape(1, -1, 2)).float()
    planes = torch.from_numpy(image.astype(np.float32)).mean(-1)[None, None]
    profile = sample_planes(planes, places).reshape(ROWS, COLUMNS).mean(1).numpy()
    # Shading is a parabola; a line is what differs from the mean of what lies above and below it.
    reach = ROWS // 6
    line = profile[reach:-reach] - (profile[: -2 * reach] + profile[2 * reach :]) / 2
    return float(np.abs(line).max() / max(profile.mean(), 1.0))


def glasses_note(contrasts: Sequence[float]) -> list[str]:
    """What is said of a clip by the `bridge_contrast` of some of its frames; nothing without glasses."""
    if not contrasts or float(np.median(contrasts)) < GLASSES_CONTRAST:
        return []
    return [
        "the person seems to wear glasses: they are learned as a part of the head; reflections that move over"
        " the lenses, and eyes that look bent behind them, are not modelled"
    ]
