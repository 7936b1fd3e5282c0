"""fittable_head_model: a head model that the tracker can fit, its landmarks found where nobody has yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from partnerface.compute.process_settings import without_native_chatter
from partnerface.files.whole_files import NotWritten
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import MAX_SPREAD_MM
from partnerface.head_models.landmark_store import keep_landmarks
from partnerface.head_models.open_head_model import open_head_model
from partnerface.runs.progress import StageProgress
from partnerface.tracking.detection.landmark_embedding import FIND_VIEWS, find_landmarks


def fittable_head_model(text: str | Path, say: Callable[[str], None] = print) -> HeadModel:
    """The head model of a name or file (`open_head_model`), with landmarks.

    Those of a file that has none are found once, by painting and detecting, and kept in the cache.

    Args:
        text: see `open_head_model`.
        say: receives a line where landmarks have to be found.

    Raises:
        UserError: there is no such head model, or its landmarks cannot be found.
    """
    head_model = open_head_model(text)
    if not len(head_model.asset.landmark_faces):
        say(f"{text}: finding the landmarks on this head model, once; it takes about a minute")
        add_landmarks(head_model)
        spread = head_model.asset.landmark_spread
        try:
            kept = f"kept in {keep_landmarks(head_model.asset, head_model.surface)}"
        except (OSError, NotWritten) as error:
            kept = f"not kept ({error}), and found again the next time"
        known = int((spread <= MAX_SPREAD_MM).sum())
        say(
            f"{text}: {known} of {len(spread)} landmarks within {MAX_SPREAD_MM:g} mm, "
            f"median {np.median(spread):.2f} mm, {kept}"
        )
    return head_model


def add_landmarks(head_model: HeadModel) -> None:
    """`find_landmarks` with a progress bar."""
    with StageProgress("head model") as bars, without_native_chatter():
        task = bars.add_task("landmarks on the head model", total=FIND_VIEWS)
        find_landmarks(head_model, lambda: bars.advance(task))
