"""One pass over a dataset's pictures: what the checks need to know of every frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from partnerface.data.image_files import read_grey, read_labels, read_rgb
from partnerface.data.region_labels import Region
from partnerface.data.tracked_sequence import TrackedSequence

SOFT_RANGE = (26, 229)
"""Matte values that are neither person nor background, 0.1 to 0.9."""


@dataclass(frozen=True)
class FrameStatistics:
    """What every frame looks like.

    Attributes:
        digests: ``T`` digests of the pictures' pixels.
        matte_share: ``[T]`` share of the picture that the matte holds.
        soft_share: ``[T]`` share of the matte's pixels that are neither person nor background.
    """

    digests: list[str]
    matte_share: np.ndarray
    soft_share: np.ndarray


def frame_statistics(
    sequence: TrackedSequence, track: Callable[[Iterable[int]], Iterable[int]] = lambda frames: frames
) -> FrameStatistics:
    """Decode every frame once, its labels too: damaged ones must not wait for training.

    Args:
        sequence: the dataset.
        track: passes frame numbers through and shows how far they are.

    Raises:
        UserError: a picture, matte or label image is damaged.
    """
    digests, rows = [], []
    for i in track(range(len(sequence))):
        image, matte = read_rgb(sequence.image_paths[i]), read_grey(sequence.matte_paths[i])
        read_labels(sequence.label_paths[i], max(Region))
        digests.append(hashlib.sha256(image.tobytes()).hexdigest())
        soft = ((matte >= SOFT_RANGE[0]) & (matte <= SOFT_RANGE[1])).sum()
        held = max(int((matte >= SOFT_RANGE[0]).sum()), 1)
        rows.append((matte.mean() / 255, soft / held))
    return FrameStatistics(digests, *np.array(rows).T)
