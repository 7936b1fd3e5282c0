"""TrackingStages: results of the finished stages of an interrupted tracking, and their key."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partnerface.data.sequence import head_model_record
from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, write_arrays
from partnerface.files.video_reading.source import MAX_FRAMES
from partnerface.files.whole_files import NotWritten, whole_file
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.tracking.alignment.expressions import ExpressionSettings
from partnerface.tracking.alignment.pose_step import AlignmentSettings
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit
from partnerface.tracking.fit.matte_contour import ContourTargets

TRACKING_REPORT_FILE = "report.json"
TRACKER_VERSION = 19
"""Raise it when the same video and settings give another dataset, or a stage other results, than before."""
LANDMARKS_FILE = "landmarks.npz"
MATTES_FILE = "mattes.npy"
FIT_FILE = "fit.npz"


def settings_key(
    source: str,
    size: int,
    models: tuple[str, str],
    head_model: HeadModel,
    settings: FitSettings,
    max_frames: int = MAX_FRAMES,
) -> str:
    """Digest of everything that a dataset depends on, the tracker's own version included.

    ``source`` is the digest of the video, ``size`` the side of the head crop in pixels; ``models`` has the
    digests of the landmark detector, and of the matting network or the user's mattes; ``max_frames`` is that
    of `choose_frames`.
    """
    head = asdict(head_model_record(head_model))
    # By its content alone: of FLAME it is the name of the user's file.
    del head["version"]
    used = {"size": size, "max_frames": max_frames, "models": models, "head": head}
    alignment = asdict(AlignmentSettings()), asdict(ExpressionSettings())
    text = json.dumps([TRACKER_VERSION, source, used, asdict(settings), *alignment], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded_key(out: Path) -> str | None:
    """The key of the dataset in a folder, None if there is none."""
    try:
        return json.loads((out / TRACKING_REPORT_FILE).read_text()).get("key")
    except (OSError, ValueError, AttributeError):
        return None


class TrackingStages:
    """A hidden folder beside the dataset; it appears with the first result and ends with the last.

    Saving only spares the next run time: an error in it is ignored, and an unreadable file counts
    as missing.

    Args:
        out: folder of the dataset that is being made.
        key: what it is made from, see `settings_key`; another key has another folder.

    Attributes:
        folder: the hidden folder.
    """

    def __init__(self, out: Path, key: str) -> None:
        self._root = out.absolute()
        self.folder = self._root.with_name(f".{self._root.name}.{key}.stages")

    def landmarks(self, source: str) -> LandmarkTrack | None:
        """The landmarks of the video with that digest."""
        return stored_landmarks(self.folder / LANDMARKS_FILE, source)

    def of_other_settings(self) -> list[Path]:
        """Folders of trackings of the same dataset with other settings that have not ended."""
        prefix, end = f".{self._root.name}.", ".stages"
        found = self._root.parent.glob(f"{prefix}*{end}")
        # A key has no dot; the name of another dataset that begins with this one's has.
        of_this = [p for p in found if "." not in p.name.removeprefix(prefix).removesuffix(end)]
        return [path for path in of_this if path != self.folder]

    def save_landmarks(self, track: LandmarkTrack) -> None:
        """Keep the landmarks, in pixels of the video."""
        self._keep(LANDMARKS_FILE, track.save)

    def mattes(self, shape: tuple[int, int, int]) -> np.ndarray | None:
        """Mattes ``[T, H, W]`` uint8 of that shape, mapped from their file."""
        try:
            mattes = np.load(self.folder / MATTES_FILE, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return mattes if mattes.shape == shape and mattes.dtype == np.uint8 else None

    def room_for_mattes(self, shape: tuple[int, int, int]) -> np.ndarray:
        """An array for mattes ``[T, H, W]`` uint8: in a file without a name, for those of a long video are
        gigabytes; in memory where the disk has no room.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # A mapped file that finds the disk full kills the process.
                os.posix_fallocate(file.fileno(), 0, math.prod(shape))
                return np.frombuffer(mmap(file.fileno(), 0), np.uint8).reshape(shape)
        except (OSError, AttributeError):  # macOS cannot reserve
            return np.empty(shape, np.uint8)

    def save_mattes(self, mattes: np.ndarray) -> None:
        """Keep mattes ``[T, H, W]`` uint8, 255 is the person."""

        def write(path: Path) -> None:
            with whole_file(path) as partial, partial.open("wb") as file:
                np.save(file, mattes)

        self._keep(MATTES_FILE, write)

    def fit(self) -> HeadFit | None:
        """The fit, its head aligned with the pictures."""
        path = self.folder / FIT_FILE
        try:
            return _fit_from(read_arrays(path)) if path.is_file() else None
        except (UserError, KeyError, TypeError, ValueError):
            return None

    def save_fit(self, fit: HeadFit) -> None:
        """Keep a fit."""
        self._keep(FIT_FILE, lambda path: write_arrays(path, _fit_arrays(fit)))

    def remove(self, with_others: bool = False) -> None:
        """Remove the folder: all has gone into the dataset, or is of no use."""
        for folder in (self.folder, *(self.of_other_settings() if with_others else ())):
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, name: str, write: Callable[[Path], None]) -> None:
        # A second run may remove the folder at any time; of a full disk the dataset's writer complains.
        with suppress(OSError, NotWritten):
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / name)


def stored_landmarks(path: Path, source: str, model_sha256: str | None = None) -> LandmarkTrack | None:
    """The landmarks in a file if they are of the video with the digest ``source``, else None.

    They must also have been found with the model ``model_sha256``, unless that is None.
    """
    if not path.is_file():
        return None
    try:
        track = LandmarkTrack.load(path)
    except UserError:
        return None
    same_model = model_sha256 in (None, track.model_sha256)
    return track if track.source == source and same_model else None


def _fit_arrays(fit: HeadFit) -> dict[str, np.ndarray]:
    """All fields of a fit by name, those of its records behind a dot; what is None is left out."""
    values = asdict(fit)
    for record in ("head", "contour"):
        values |= {f"{record}.{name}": value for name, value in (values.pop(record) or {}).items()}
    return {
        name: value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        for name, value in values.items()
        if value is not None
    }


def _fit_from(arrays: dict[str, np.ndarray]) -> HeadFit:
    values: dict[str, dict[str, Any]] = {"": {}, "head": {}, "contour": {}}
    for name, array in arrays.items():
        record, _, field = name.rpartition(".")
        values[record][field] = torch.from_numpy(array) if array.ndim else float(array)
    fit = {**values[""], "landmark_numbers": arrays["landmark_numbers"], "contour": None}
    if values["contour"]:
        fit["contour"] = ContourTargets(**values["contour"])
    return HeadFit(head=HeadParameters(**values["head"]), **fit)
