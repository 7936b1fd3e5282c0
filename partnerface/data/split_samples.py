"""Samples of the test splits: few frames on which methods that render slowly are compared with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from partnerface.data.tracked_sequence import TrackedSequence
from partnerface.user_error import UserError

SAMPLE = "_sample"
"""What the name of a split's sample ends in."""


def spread_evenly(frames: Sequence[int], count: int) -> list[int]:
    """Up to ``count`` of the frames, spread evenly, first and last among them.

    >>> spread_evenly([3, 4, 5, 6, 9], 3)
    [3, 5, 9]
    """
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[place] for place in places]


def sampled_sequence(
    sequence: TrackedSequence, sample_frames: int, test_splits: Sequence[str] | None
) -> TrackedSequence:
    """A sequence with other test splits.

    Args:
        sequence: as it was tracked.
        sample_frames: frames of the split ``<name>_sample`` that every test split is given; 0 for none.
        test_splits: the test splits to keep; all if None.

    Raises:
        UserError: a split to keep does not exist.
    """
    tests = {name: sequence.splits[name] for name in sequence.test_splits}
    if sample_frames:
        samples = {f"{name}{SAMPLE}": spread_evenly(frames, sample_frames) for name, frames in tests.items()}
        tests |= samples
    for name in test_splits or ():
        if name not in tests:
            raise UserError(f"--data.test_splits: no split {name}; choose from {', '.join(tests)}")
    kept = {name: frames for name, frames in tests.items() if test_splits is None or name in test_splits}
    others = {name: frames for name, frames in sequence.splits.items() if name not in tests}
    return replace(sequence, splits={**others, **kept})
