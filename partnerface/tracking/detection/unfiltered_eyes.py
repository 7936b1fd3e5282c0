"""Eyes of a video as its single pictures show them.

A landmark detector's filter over time steadies the head, but a blink takes two or three frames: filtered lids
begin to close a frame late, do not close, and are still half closed six frames after they have opened.
"""

from __future__ import annotations

import numpy as np

from partnerface.head_models.landmark_geometry import LEFT_EYE, RIGHT_EYE

_EYES = (
    (
        (33, 133),
        (*RIGHT_EYE, 247, 30, 29, 27, 28, 56, 190, 130, 25, 110, 24, 23, 22, 26, 112, 243, *range(468, 473)),
    ),
    (
        (263, 362),
        (
            *(*LEFT_EYE, 467, 260, 259, 257, 258, 286, 414, 359, 255, 339, 254, 253, 252, 256, 341, 463),
            *range(473, 478),
        ),
    ),
)
"""Corners of the right and the left eye; with the edges of its lids the ring around them and the iris."""

LARGEST_SHIFT = 0.5
"""Widths of the eye from the filtered eye beyond which a single picture shows another face."""


def with_unfiltered_eyes(filtered: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Landmarks ``[478, 3]`` in pixels whose eyes have the lids and the iris of a single picture.

    Each eye is moved, turned and scaled in the picture so that its corners lie where the filtered ones do.

    Args:
        filtered: ``[478, 3]`` as the video's filter has them.
        single: ``[478, 3]`` as the picture alone has them; where an eye of it lies elsewhere, the filtered
            one is kept.
    """
    found = filtered.copy()
    for corners, numbers in _EYES:
        own, kept = (_complex(points[list(corners)]) for points in (single, filtered))
        reach = LARGEST_SHIFT * np.abs(kept[1] - kept[0])
        if own[0] == own[1] or (np.abs(own - kept) > reach).any():
            continue
        turn = (kept[1] - kept[0]) / (own[1] - own[0])
        rows = list(numbers)
        moved = kept.mean() + turn * (_complex(single[rows]) - own.mean())
        depth = (single[rows, 2] - single[list(corners), 2].mean()) * np.abs(turn)
        found[rows] = np.stack([moved.real, moved.imag, depth + filtered[list(corners), 2].mean()], 1)
    return found


def _complex(points: np.ndarray) -> np.ndarray:
    """x + iy of points ``[N, 3]``."""
    return points[:, 0] + 1j * points[:, 1]
