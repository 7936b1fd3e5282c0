"""Coverage of pose and expression: what training sees, and how far tests go beyond it."""

from __future__ import annotations

from partnerface.data.splits import split_coverage
from partnerface.data.tracked_sequence import TrackedSequence
from partnerface.dataset_checks.finding import Finding, Severity, graded

LEAST_TURN = 15.0
"""Degrees of yaw from one side to the other."""
MOVED = 0.15
"""Range of a coefficient, in units of the head model's own, from which it counts as used."""
LEAST_USED = 0.15
"""Share of the coefficients that should be used."""


def coverage_of(sequence: TrackedSequence) -> dict[str, dict[str, float]]:
    """Pose and expression coverage by split, worked out anew; nothing where there is no training frame."""
    return split_coverage(sequence.splits, sequence.head) if sequence.splits.get("train") else {}


def check_coverage(sequence: TrackedSequence, coverage: dict[str, dict[str, float]]) -> list[Finding]:
    """Whether training frames turn the head and move the face, and whether tests lie within reach.

    Args:
        sequence: the dataset.
        coverage: from `coverage_of`.
    """
    if not coverage:
        return [Finding("coverage", "unfit", "no training frame to cover anything")]
    train = coverage["train"]
    turn, nod = (train[f"{axis}_max"] - train[f"{axis}_min"] for axis in ("yaw", "pitch"))
    expression = sequence.head.expression[sequence.splits["train"]]
    spread = expression.amax(0) - expression.amin(0)
    used = float((spread > MOVED).float().mean())
    problems: list[tuple[Severity, str]] = []
    if turn < LEAST_TURN:
        problems.append(("doubt", f"the head turns by {turn:.0f} degrees only; its sides will not be known"))
    if float(spread.max()) <= MOVED:
        problems.append(("unfit", "the expression never changes; nothing can be learned about it"))
    elif used < LEAST_USED:
        problems.append(("doubt", f"{used:.0%} of the expressions are used; others will not be known"))
    fine = f"turns by {turn:.0f}, nods by {nod:.0f} degrees; {used:.0%} of the expressions are used"
    values = {"yaw_degrees": turn, "pitch_degrees": nod, "expressions_used": used}
    return graded("coverage", problems, fine, values)
