"""PictureChanges: how much each picture of a video differs from the one before, whatever the light does."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

CUT_CONTENT_CHANGE = 0.03
"""Mean difference of thumbnails up to which a change is no cut, and light need not be taken out."""

THUMBNAIL = 32
EMPTY_CONTRAST = 0.02
"""Standard deviation of a thumbnail's values, in [0, 1], below which the picture shows nothing."""

DIM_CONTRAST = 0.05
"""The same, below which a picture is too dark to be told from another."""

BRIGHT_SHARE = 0.5
"""Share of the highest contrast of a scene below which a picture is on its way into the dark."""

LAST_PICTURES, FIRST_PICTURES = 12, 50
"""Pictures before and after a dark time that are compared: some show a hand on the lens or half a picture."""

LEAST_GAIN = 0.05
NOTHING_BEFORE = -1.0


class PictureChanges:
    """How much each picture differs from the one before; called with one after another.

    Light that changes is no change of the picture, nor is an empty picture, black or white. What follows it
    is compared with what was there before it, as it looked before it faded: a scene that fades out need not
    be the one that fades in.

    Attributes:
        found: `LandmarkTrack.content_change`, ``background_change`` and ``face_change`` of each picture. That
            of the first after an empty one is final after `FIRST_PICTURES` more.
    """

    def __init__(self) -> None:
        self.found: list[tuple[float, float, float]] = []
        self._last: np.ndarray | None = None
        self._image: np.ndarray | None = None
        self._bright: deque[np.ndarray] = deque(maxlen=LAST_PICTURES)
        self._highest = 0.0
        self._before: _BeforeDark | None = None
        self._first = 0

    def __call__(self, image: np.ndarray, landmarks: np.ndarray | None = None) -> None:
        """Add a picture.

        Args:
            image: ``[H, W, 3]`` uint8.
            landmarks: ``[K, 2 or more]`` pixels of its face, if it has one.
        """
        small = _thumbnail(image)
        contrast = float(small.std())
        if contrast < EMPTY_CONTRAST:
            self.found.append((NOTHING_BEFORE, 0.0, NOTHING_BEFORE))
            if self._bright:
                self._before = _BeforeDark([*self._bright], self._highest)
            self._first = len(self.found)
            return
        if self._last is None:
            self.found.append((NOTHING_BEFORE, 0.0, NOTHING_BEFORE))
        else:
            around = float(np.abs(small - self._last).mean())
            if landmarks is not None:
                square = _around_head(landmarks, image.shape[1], image.shape[0])
                around = float(np.abs(_thumbnail(image[square]) - _thumbnail(self._image[square])).mean())
            self.found.append((*_change(self._last, small), around))
        if contrast >= DIM_CONTRAST and self._before is not None:
            self._compare(self._before, small)
        if self.found[-1][0] > CUT_CONTENT_CHANGE:
            self._highest = 0.0
        self._highest = max(self._highest, contrast)
        if contrast >= max(DIM_CONTRAST, BRIGHT_SHARE * self._highest):
            self._bright.append(small)
        self._last, self._image = small, image

    def _compare(self, before: _BeforeDark, small: np.ndarray) -> None:
        """Let one of the first pictures after a dark time decide about the change of the very first."""
        if before.compared == 0:
            self._bright.clear()
            self._highest = 0.0
        self.found[self._first] = (*before.change(small), self.found[self._first][2])
        if before.compared == FIRST_PICTURES:
            self._before = None


@dataclass
class _BeforeDark:
    """What was seen before a dark time, to be compared with pictures after it.

    Attributes:
        pictures: thumbnails ``[h, w, 3]``.
        contrast: the highest of that scene.
        compared: number of pictures that `change` was asked for.
        least: the least change so far.
    """

    pictures: Sequence[np.ndarray]
    contrast: float
    compared: int = 0
    least: tuple[float, float] = (np.inf, np.inf)

    def change(self, small: np.ndarray) -> tuple[float, float]:
        """Mean and median difference, as at full contrast, of the most alike pictures up to this one."""
        for picture in self.pictures:
            scale = max(self.contrast / max(float(picture.std()), float(small.std())), 1.0)
            mean, median = _change(picture, small)
            self.least = min(self.least, (scale * mean, scale * median))
        self.compared += 1
        return self.least


def _change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Mean and median difference of two thumbnails, but for the light."""
    difference = np.abs(after - before)
    if difference.mean() > CUT_CONTENT_CHANGE:
        difference = _without_light(before, after, difference)
    return float(difference.mean()), float(np.median(difference.max(-1)))


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """``[THUMBNAIL, THUMBNAIL, 3]`` in [0, 1] of a picture ``[H, W, 3]`` uint8."""
    resized = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(resized, np.float32) / 255


def _around_head(landmarks: np.ndarray, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of a picture within a face height and a half of the face's middle."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    middle, reach = (low + high) / 2, 1.5 * (high[1] - low[1])
    last = np.array([width - 1, height - 1])
    (left, top), (right, bottom) = (np.clip(middle + side, 0, last).astype(int) for side in (-reach, reach))
    return slice(top, bottom + 1), slice(left, right + 1)


def _without_light(before: np.ndarray, after: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Difference ``[h, w, 3]`` once a gain and an offset of each channel are taken out, where that is less.

    The gain takes the picture with more contrast to the one with less, whose remaining difference counts as
    it would at full contrast.
    """
    strong, weak = (before, after) if before.std() > after.std() else (after, before)
    axes = (0, 1)
    centred = strong - strong.mean(axes)
    gain = (centred * (weak - weak.mean(axes))).mean(axes) / centred.var(axes).clip(1e-6)
    if gain.min() < LEAST_GAIN:
        return difference
    remaining = np.abs(weak - weak.mean(axes) - gain * centred) / gain
    return remaining if remaining.mean() < difference.mean() else difference
