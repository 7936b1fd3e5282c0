"""What a tracked dataset is made from, as a key: a second run of the same uses what it finds under it."""

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
"""Raise it when the same video and settings give another dataset, or a stage other results, than before."""


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
    source: str, size: int, mattes: str | None, head_model: HeadModel, settings: FitSettings
) -> str:
    """Digest of everything that a dataset depends on, the tracker's own version included.

    Args:
        source: digest of the video.
        size: side of the head crop in pixels.
        mattes: digest of the user's mattes, None without.
        head_model: the fitted head model.
        settings: of the fit.
    """
    used = {"size": size, "mattes": mattes, "head": asdict(head_model_record(head_model))}
    alignment = asdict(AlignmentSettings()), asdict(ExpressionSettings())
    text = json.dumps([TRACKER_VERSION, source, used, asdict(settings), *alignment], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded_key(out: Path) -> str | None:
    """The key of the dataset in a folder, None if there is none."""
    try:
        return json.loads((out / REPORT_FILE).read_text()).get("key")
    except (OSError, ValueError, AttributeError):
        return None
