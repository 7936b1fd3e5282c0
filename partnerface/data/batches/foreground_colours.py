"""Foreground colours: what the person alone looks like where a pixel shows some of the background too."""

from __future__ import annotations

import numpy as np
import torch

RADII = (16, 4, 1)
"""Pixels: from farther than the widest rim of a matte down to the pixel's own neighbours."""

TINY = 1e-5


def foreground_colours(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Take the background out of the colours of half-covered pixels.

    A camera's pixel is `I = a F + (1 - a) B`. Laid over another background as it is, it brings the old one
    along: a bright rim around dark hair. This is blur fusion (Forte, "Approximate Fast Foreground Colour
    Estimation", ICIP 2021): `F` and `B` are means over ever smaller windows, weighted by the matte and by
    what it leaves; what the pixel shows beyond them is given to `F`, as far as it is covered.

    Args:
        image: ``[H, W, 3]`` uint8.
        matte: ``[H, W]`` uint8, the person's share `a` of each pixel.

    Returns:
        ``[H, W, 3]`` uint8: `F`. Pixels that show the person alone stay as they are; those that show
        nothing of the person hold any colour.
    """
    rows, columns = ((matte > 0) & (matte < 255)).nonzero()
    if not len(rows):
        return image
    alpha = matte[..., None].astype(np.float32) / 255
    foreground, background = (image.astype(np.float32) / 255 for _ in range(2))
    seen, share = foreground[rows, columns], alpha[rows, columns]
    for radius in RADII:
        windows = _Windows(rows, columns, radius, matte.shape)
        person = windows.mean(foreground, alpha)
        behind = windows.mean(background, 1 - alpha)
        surplus = seen - share * person - (1 - share) * behind
        foreground[rows, columns] = (person + share * surplus).clip(0, 1)
        background[rows, columns] = behind
    return (foreground * 255).round().astype(np.uint8)


class _Windows:
    """Square windows of ``2 radius + 1`` pixels around N pixels, cut off at the frame."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, radius: int, shape: tuple[int, int]) -> None:
        self.top, self.left = (np.maximum(places - radius, 0) for places in (rows, columns))
        self.bottom = np.minimum(rows + radius + 1, shape[0])
        self.right = np.minimum(columns + radius + 1, shape[1])

    def mean(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """``[N, C]`` weighted means of ``[H, W, C]``: differences of running sums, whatever the radius."""
        running = np.zeros((values.shape[0] + 1, values.shape[1] + 1, values.shape[2] + 1))
        running[1:, 1:, :-1], running[1:, 1:, -1:] = values * weights, weights
        # In place, the same sums as numpy's in a fifth of the time.
        summed = torch.from_numpy(running)
        torch.cumsum(torch.cumsum(summed, 0, out=summed), 1, out=summed)
        sums = (
            running[self.bottom, self.right]
            - running[self.top, self.right]
            - running[self.bottom, self.left]
            + running[self.top, self.left]
        )
        return sums[:, :-1] / (sums[:, -1:] + TINY)
