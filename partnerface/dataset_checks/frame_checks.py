"""Checks on the pictures of a dataset: mattes, by statistics of every frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from partnerface.data.formats.plausibility import frame_runs
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.dataset_checks.sequence_checks import Finding, Severity, graded
from partnerface.files.images import read_grey, read_labels, read_rgb

SOFT_RANGE = (26, 229)
"""Matte values that are neither person nor background, 0.1 to 0.9."""
EMPTY_SHARE, FULL_SHARE = 0.02, 0.98
"""Share of the picture below which a matte counts as empty, and above which as full."""
MOST_BAD = 0.05
"""Share of the frames whose matte may be empty or full."""
SOFT_LIMIT = 0.4
"""Share of the matte's pixels that may be soft."""
JUMP = 0.15
"""Relative change of the matte's area from frame to frame that no motion makes."""
MOST_JUMPS = 0.02
"""Share of neighbouring frames that may jump."""


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


def check_mattes(statistics: FrameStatistics, weights: Tensor) -> list[Finding]:
    """Empty and full mattes, soft ones, and those that flicker, among tracked frames.

    Args:
        statistics: of all T frames.
        weights: ``[T]`` frame weights; frames of weight 0 are not looked at.
    """
    tracked = weights.numpy() > 0
    share, soft = statistics.matte_share, statistics.soft_share
    problems: list[tuple[Severity, str]] = []
    for bad, word in ((share < EMPTY_SHARE, "empty"), (share > FULL_SHARE, "full")):
        frames = np.flatnonzero(bad & tracked).tolist()
        if frames:
            severity: Severity = "unfit" if len(frames) > MOST_BAD * tracked.sum() else "doubt"
            where = _shortened(frame_runs(frames))
            problems.append((severity, f"{len(frames)} of {tracked.sum()} mattes are {word}: frames {where}"))
    usual = float(np.median(soft[tracked])) if tracked.any() else 0.0
    if usual > SOFT_LIMIT:
        problems.append(("doubt", f"{usual:.0%} of the matte is neither person nor background"))
    pairs = tracked[1:] & tracked[:-1]
    change = np.abs(np.diff(share)) / np.maximum(np.maximum(share[1:], share[:-1]), EMPTY_SHARE)
    jumps = int((change[pairs] > JUMP).sum())
    if jumps > MOST_JUMPS * max(pairs.sum(), 1):
        problems.append(("doubt", f"the matte's area jumps by more than {JUMP:.0%} at {jumps} frames"))
    held = float(np.median(share[tracked])) if tracked.any() else 0.0
    values = {"matte_share_median": held, "soft_share_median": usual, "jumps": jumps}
    return graded("mattes", problems, f"hold {held:.0%} of the picture, {usual:.0%} of it soft", values)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:76]} ..."
