"""Matte quality: is there one, is it sharp, does it stay?"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from partnerface.data.frame_plausibility import frame_runs
from partnerface.dataset_checks.finding import Finding, Severity, graded
from partnerface.dataset_checks.frame_statistics import FrameStatistics

EMPTY_SHARE, FULL_SHARE = 0.02, 0.98
MOST_BAD = 0.05
"""Share of the frames whose matte may be empty or full."""
SOFT_LIMIT = 0.4
JUMP = 0.15
"""Relative change of the matte's area from frame to frame that no motion makes."""
MOST_JUMPS = 0.02


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
