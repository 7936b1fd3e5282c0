"""Split overlap: does a test show what training has seen?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from partnerface.data.tracked_sequence import TrackedSequence
from partnerface.dataset_checks.finding import Finding, Severity, graded

MOST_REPEATED = 0.2
"""Share of neighbouring frames that may be the same picture, as in a video of a raised frame rate."""


def check_splits(sequence: TrackedSequence, digests: Sequence[str]) -> list[Finding]:
    """Pictures that training and test share, and frames that repeat the one before.

    Args:
        sequence: the dataset; its reader has made sure that no frame is in two splits.
        digests: of the pixels of all T frames.
    """
    seen = {digests[i] for i in sequence.splits.get("train", [])}
    problems: list[tuple[Severity, str]] = []
    shared = 0
    for name in ("val", *sequence.test_splits):
        held_out = sequence.splits.get(name, [])
        same = [i for i in held_out if digests[i] in seen]
        shared += len(same)
        if same:
            severity: Severity = "doubt" if name == "val" else "unfit"
            text = f"{len(same)} of {len(held_out)} pictures of {name} are in training too, such as {same[0]}"
            problems.append((severity, text))
    repeated = sum(a == b for a, b in pairwise(digests))
    if repeated > MOST_REPEATED * len(digests):
        problems.append(("doubt", f"{repeated} of {len(digests)} frames repeat the one before"))
    gap = _smallest_gap(sequence)
    fine = f"no picture of a test is in training; the nearest frames of both are {gap} apart"
    return graded("splits", problems, fine, {"shared": shared, "repeated": repeated, "gap_frames": gap})


def _smallest_gap(sequence: TrackedSequence) -> int:
    """Smallest difference from a test frame to a training frame; 0 where either is missing."""
    train = sorted(sequence.splits.get("train", []))
    tests = sorted({i for name in sequence.test_splits for i in sequence.splits[name]})
    return min((abs(a - b) for a in tests for b in train), default=0)
