"""check_dataset: every check on one dataset, the pictures that show what was found, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from partnerface.data.formats.auto import AUTO, AutoReader
from partnerface.data.recorded_head_model import recorded_head_model
from partnerface.data.sequence import check_head_model
from partnerface.dataset_checks.picture_checks import (
    check_camera_motion,
    check_framing,
    check_light,
    check_mattes,
    check_motion,
    frame_statistics,
)
from partnerface.dataset_checks.projection_check import (
    check_projection,
    overlay_picture,
    project_heads,
    write_coverage_figure,
)
from partnerface.dataset_checks.sequence_checks import (
    Finding,
    check_camera,
    check_coverage,
    check_length,
    check_proportions,
    check_splits,
    check_tracking,
    coverage_of,
    picture_enlargement,
    tracking_report,
)
from partnerface.errors import UserError
from partnerface.files.images import write_image
from partnerface.files.whole_files import replace_text

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
    head_model_file: Path | None = None,
    format: str = AUTO,
    track: Callable[[Iterable[int]], Iterable[int]] = lambda frames: frames,
) -> DatasetCheck:
    """Check a dataset and write ``check.json``, ``overlay.png`` and ``coverage.png``.

    Args:
        root: the dataset; nothing in it is changed, but datasets of other systems are completed (see
            `AutoReader`).
        out: folder of the report, made if missing.
        head_model_file: file of the head model, for datasets tracked with FLAME.
        format: format of the dataset, if it is not to be found out.
        track: passes frame numbers through and shows how far they are.

    Raises:
        UserError: the dataset cannot be read, or ``out`` cannot be written.
    """
    sequence = AutoReader(root, head_model_file, format).read()
    head_model = sequence.head_model or recorded_head_model(sequence, head_model_file)
    findings = [Finding("format", "ok", f"read as {sequence.origin}")]
    report = tracking_report(root)
    findings += check_tracking(sequence, report) + check_length(sequence)
    findings += check_camera(sequence.camera, picture_enlargement(report, sequence.camera))
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
        findings += check_proportions(sequence, head_model)
    weights = sequence.frame_weights
    findings += check_mattes(statistics, weights)
    for check_pictures in (check_motion, check_light, check_framing):
        findings += check_pictures(statistics, weights)
    findings += check_camera_motion(statistics)
    findings += check_splits(sequence, statistics.digests)
    coverage = coverage_of(sequence)
    findings += check_coverage(sequence, coverage)
    if coverage:
        files.append(out / COVERAGE_FILE)
        write_coverage_figure(files[-1], sequence, head_model.asset.expression_names)
    check = DatasetCheck(sequence.name, findings, coverage, files)
    replace_text(out / CHECK_FILE, json.dumps(check.record(), indent=1, allow_nan=False) + "\n")
    return check
