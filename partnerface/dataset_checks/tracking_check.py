"""How many frames there are to train and to test on, and which were left out."""

from __future__ import annotations

from partnerface.data.frame_plausibility import left_out_report
from partnerface.data.tracked_sequence import TrackedSequence
from partnerface.dataset_checks.finding import Finding, Severity, graded

LEAST_TRAIN, GOOD_TRAIN = 10, 200
"""Training frames: below the first there is no avatar, below the second a poor one."""
MOST_LEFT_OUT = 0.1
MOST_LOST = 0.3


def check_tracking(sequence: TrackedSequence) -> list[Finding]:
    """Frames left out because their tracking cannot be, frames without a face, frames of each use."""
    frames = len(sequence)
    train = len([i for i in sequence.splits.get("train", []) if sequence.frame_weights[i] == 1])
    left_out = len(sequence.left_out)
    lost = int((sequence.frame_weights == 0).sum()) - left_out
    tests = len({i for name in sequence.test_splits for i in sequence.splits[name]})
    problems: list[tuple[Severity, str]] = []
    if left_out:
        severity: Severity = "unfit" if left_out > MOST_LEFT_OUT * frames else "doubt"
        reasons = left_out_report(sequence.left_out)
        problems.append((severity, f"{left_out} of {frames} frames cannot be tracked right: {reasons}"))
    if lost > MOST_LOST * frames:
        problems.append(("doubt", f"no head in {lost} of {frames} frames"))
    if train < LEAST_TRAIN:
        problems.append(("unfit", f"{train} frames to train on; at least {LEAST_TRAIN} are needed"))
    elif train < GOOD_TRAIN:
        problems.append(("doubt", f"{train} frames to train on; {GOOD_TRAIN} and more make a good avatar"))
    if not tests:
        problems.append(("doubt", "no frame to test on"))
    fine = f"{train} frames to train on, {tests} to test on"
    values = {"frames": frames, "train": train, "test": tests, "left_out": left_out, "without_head": lost}
    return graded("tracking", problems, fine, values)
