"""check_dataset: every check on one dataset, those of its mattes and files too, its pictures, the verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from partnerface.data.formats.auto import AUTO, AutoReader
from partnerface.data.formats.plausibility import frame_runs
from partnerface.data.recorded_head_model import recorded_head_model
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence, check_head_model
from partnerface.dataset_checks.projection_check import (
    check_projection,
    overlay_picture,
    project_heads,
    write_coverage_figure,
)
from partnerface.dataset_checks.sequence_checks import (
    Finding,
    Severity,
    check_camera,
    check_coverage,
    check_splits,
    check_tracking,
    coverage_of,
    graded,
)
from partnerface.errors import UserError
from partnerface.files.images import read_grey, read_labels, read_rgb, write_image
from partnerface.files.whole_files import replace_text

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

    ``track`` passes frame numbers through and shows how far they are.

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
    """Empty and full mattes, soft ones, and those that flicker, among frames of weight ``[T]`` above 0."""
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


CHECK_FILE, OVERLAY_FILE, COVERAGE_FILE = "check.json", "overlay.png", "coverage.png"
LOOKED_AT = 24
"""Frames on which the head is projected."""


@dataclass(frozen=True)
class DatasetCheck:
    """What was found.

    Attributes:
        name: the dataset's own name.
        findings: in the order of the checks.
        coverage: pose and expression coverage by split.
        files: pictures that were written.
    """

    name: str
    findings: list[Finding]
    coverage: dict[str, dict[str, float]]
    files: list[Path]

    @property
    def reasons(self) -> list[str]:
        """Why the dataset is unfit; empty where it is fit."""
        return [f"{f.topic}: {f.text}" for f in self.findings if f.severity == "unfit"]

    @property
    def doubts(self) -> list[str]:
        return [f"{f.topic}: {f.text}" for f in self.findings if f.severity == "doubt"]

    def record(self) -> dict:
        """The content of ``check.json``."""
        return {
            "dataset": self.name,
            "verdict": "unfit" if self.reasons else "fit",
            "reasons": self.reasons,
            "doubts": self.doubts,
            "findings": [asdict(finding) for finding in self.findings],
            "coverage": self.coverage,
        }


def check_dataset(
    root: Path,
    out: Path,
    flame: Path | None = None,
    format: str = AUTO,
    track: Callable[[Iterable[int]], Iterable[int]] = lambda frames: frames,
) -> DatasetCheck:
    """Check a dataset and write ``check.json``, ``overlay.png`` and ``coverage.png``.

    Args:
        root: the dataset; nothing in it is changed, but datasets of other systems are completed (see
            `AutoReader`).
        out: folder of the report, made if missing.
        flame: the FLAME file, for datasets tracked with it.
        format: format of the dataset, if it is not to be found out.
        track: passes frame numbers through and shows how far they are.

    Raises:
        UserError: the dataset cannot be read, or ``out`` cannot be written.
    """
    sequence = AutoReader(root, flame, format).read()
    head_model = sequence.head_model or recorded_head_model(sequence, flame, "--flame")
    findings = check_tracking(sequence) + check_camera(sequence.camera)
    statistics = frame_statistics(sequence, track)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); choose another") from error
    files = []
    try:
        check_head_model(sequence, head_model)
    except UserError as error:
        findings.append(Finding("head model", "unfit", str(error)))
    else:
        heads = list(project_heads(sequence, head_model, LOOKED_AT))
        findings += check_projection(heads)
        if heads:
            files.append(out / OVERLAY_FILE)
            write_image(files[-1], overlay_picture(heads))
    findings += check_mattes(statistics, sequence.frame_weights)
    findings += check_splits(sequence, statistics.digests)
    coverage = coverage_of(sequence)
    findings += check_coverage(sequence, coverage)
    if coverage:
        files.append(out / COVERAGE_FILE)
        write_coverage_figure(files[-1], sequence, head_model.asset.expression_names)
    check = DatasetCheck(sequence.name, findings, coverage, files)
    replace_text(out / CHECK_FILE, json.dumps(check.record(), indent=1, allow_nan=False) + "\n")
    return check
