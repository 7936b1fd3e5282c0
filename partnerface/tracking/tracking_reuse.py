"""What a tracked dataset was made from: a second run of the same finds it and uses it as it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from partnerface.data.tracked_sequence import head_model_record
from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.expression_alignment import ExpressionSettings
from partnerface.tracking.head_fit import FitSettings
from partnerface.tracking.pose_step import AlignmentSettings
from partnerface.user_error import UserError

REPORT_FILE = "report.json"
TRACKER_VERSION = 8
"""Raise it when the same video and settings give another dataset than before."""


def file_digest(video: Path) -> str:
    """sha256 of a video file.

    Raises:
        UserError: there is no such file.
    """
    if not video.is_file():
        raise UserError(f"{video}: no such video file")
    with video.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settings_key(
    source: str, size: int, mattes: Path | None, head_model: HeadModel, settings: FitSettings
) -> str:
    """Digest of everything that a dataset depends on, the tracker's own version included."""
    used = {"size": size, "mattes": str(mattes), "head": asdict(head_model_record(head_model))}
    alignment = asdict(AlignmentSettings()), asdict(ExpressionSettings())
    text = json.dumps([TRACKER_VERSION, source, used, asdict(settings), *alignment], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded_key(out: Path) -> str | None:
    """The key of the dataset in a folder, None if there is none."""
    try:
        return json.loads((out / REPORT_FILE).read_text()).get("key")
    except (OSError, ValueError, AttributeError):
        return None
