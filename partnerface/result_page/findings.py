"""What checks, tracker and training have to say about a run, for its page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from partnerface.avatar.method import AvatarMethod
from partnerface.data.formats.plausibility import frame_runs
from partnerface.data.sequence import TrackedSequence
from partnerface.dataset_checks.sequence_checks import (
    Finding,
    Severity,
    check_camera,
    check_coverage,
    check_length,
    check_tracking,
    coverage_of,
    graded,
    picture_enlargement,
    tracking_report,
)
from partnerface.result_page.training_curves import Curve

BEYOND = 0.05
"""How far outside the training range a coefficient counts as beyond it."""
LARGE_RESIDUAL = 4.0
"""Mean landmark residual, in pixels at 512, from which a tracking is in doubt."""
LONGEST_RUNS = 100


def run_findings(
    sequence: TrackedSequence,
    dataset: Path,
    avatar: AvatarMethod,
    curves: Mapping[str, Curve],
    protocol: Mapping,
) -> list[Finding]:
    """Everything worth knowing beside the scores, the doubts first.

    Args:
        sequence: the video.
        dataset: its folder, in which the tracker may have left its report.
        avatar: the trained avatar, with the range of its training expressions.
        curves: the log of its training.
        protocol: that of the test, from ``metrics.json``.
    """
    report = tracking_report(dataset)
    found = [
        *check_tracking(sequence, report),
        *check_length(sequence),
        *tracker_findings(report),
        *check_camera(sequence.camera, picture_enlargement(report, sequence.camera)),
        *check_coverage(sequence, coverage_of(sequence)),
        *range_findings(sequence, avatar),
        *training_findings(curves),
    ]
    for name, metric in protocol.get("metrics", {}).items():
        if metric.get("missing"):
            found.append(Finding("metrics", "doubt", f"{name} was not measured: {metric['missing']}"))
    order: dict[Severity, int] = {"unfit": 0, "doubt": 1, "ok": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def training_findings(curves: Mapping[str, Curve]) -> list[Finding]:
    """Steps that were left out because loss or gradient was not finite; nothing without a log."""
    if "train/skipped_steps" not in curves:
        return []
    steps, seconds, skipped = curves["train/skipped_steps"][-1]
    problems: list[tuple[Severity, str]] = []
    if skipped:
        text = f"{skipped:.0f} steps were skipped, for loss or gradient was not a finite number"
        problems.append(("doubt", text))
    fine = f"{steps + 1} steps in {seconds / 60:.1f} minutes, none skipped"
    return graded("training", problems, fine, {})


def range_findings(sequence: TrackedSequence, avatar: AvatarMethod) -> list[Finding]:
    """How many test frames have an expression that training has not reached."""
    low, high = avatar.view_defaults.expression_low.cpu(), avatar.view_defaults.expression_high.cpu()
    expression = sequence.head.expression[torch.tensor(sequence.test_frames, dtype=torch.long)]
    if not len(expression) or expression.shape[1] != len(low):
        return []
    outside = (expression < low - BEYOND) | (expression > high + BEYOND)
    frames = int(outside.any(1).sum())
    names, share = avatar.head_model.asset.expression_names, outside.float().mean(0)
    most = [names[k] for k in share.argsort(descending=True)[:3] if share[k] > 0]
    text = f"{frames} of {len(expression)} test frames go beyond the expressions of training"
    return [Finding("range", "ok", text + (f", most often in {', '.join(most)}" if most else ""))]


def tracker_findings(report: Mapping | None) -> list[Finding]:
    """What the tracker's report says; nothing where there is none, or none that can be read."""
    if report is None:
        return []
    problems: list[tuple[Severity, str]] = []
    for key, text in (("frames_without_face", "no face in frames"), ("jump_cuts", "jump cuts at frames")):
        frames = report.get(key)
        if isinstance(frames, list) and frames and all(isinstance(i, int) for i in frames):
            runs = frame_runs(frames)
            runs = runs if len(runs) <= LONGEST_RUNS else f"{runs[:LONGEST_RUNS]} ..., {len(frames)} in all"
            problems.append(("doubt", f"{text} {runs}"))
    residuals = report.get("residual_px_at_512")
    residual = residuals.get("mean") if isinstance(residuals, dict) else None
    known = isinstance(residual, int | float)
    if known and residual > LARGE_RESIDUAL:
        problems.append(("doubt", f"landmarks lie {residual:.1f} px off on average, in a picture 512 high"))
    fine = f"landmarks fit to {residual:.1f} px in a picture 512 high" if known else "nothing to report"
    return graded("tracker", problems, fine, {})
