"""SequenceWriter: writes a tracked video in our own format, all of it or nothing."""

from __future__ import annotations

import json
import math
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.layout import (
    CACHE_FOLDER,
    CANONICAL_HEAD,
    FILE_PATTERNS,
    FORMAT_NAME,
    FORMAT_VERSION,
    INTRINSICS,
    RESIDUAL,
    TIME,
    TRANSFORMS,
    USES,
    flip_camera_axes,
)
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.plausibility import head_middle
from partnerface.data.formats.values import float_array, frame_arrays
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError
from partnerface.files.images import write_image
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import hidden_folder, move_into_place, remove_abandoned, replaceable

OUR_FILES = {
    *(Path(pattern).parts[0] for pattern in FILE_PATTERNS.values()),
    *(TRANSFORMS, CANONICAL_HEAD, CACHE_FOLDER),
    *(f"transforms_{use}.json" for use in USES),
}
"""What a dataset's folder holds at its top; nothing else in it is ever removed."""

PICTURES = ("file_path", "fg_mask_path", "label_path")
"""Keys in `FILE_PATTERNS` of what `SequenceWriter.add_frame` writes."""


class SequenceWriter:
    """Writes into a hidden folder beside ``root`` and renames it in `finish`; an error removes it.

    Use it as a context manager. A dataset that already lies in ``root`` is replaced at the end;
    files in it that are no part of the format stay.

    Attributes:
        folder: the hidden folder; whatever else is put there arrives in ``root`` with the dataset.
        paths: files of the pictures that were added, in ``folder`` until `finish` moves them, by their keys
            ``file_path``, ``fg_mask_path`` and ``label_path``.
    """

    def __init__(self, root: Path) -> None:
        """Make the hidden folder.

        Raises:
            UserError: ``root`` is a mount point or holds the working folder, holds something that is not a
                dataset of ours, or cannot be written.
        """
        self.root = replaceable(Path(root))
        empty = self.root.is_dir() and not any(self.root.iterdir())
        if self.root.exists() and not empty and not _is_ours(self.root):
            raise UserError(f"{root}: exists and is not a partnerface dataset; choose another folder")
        self.folder = hidden_folder(self.root)
        self._size: tuple[int, int] | None = None
        self.paths: dict[str, list[Path]] = {key: [] for key in PICTURES}
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.root)
            shutil.rmtree(self.folder, ignore_errors=True)
            for pattern in FILE_PATTERNS.values():
                (self.folder / pattern).parent.mkdir(parents=True)
            if self.root.exists() and not os.access(self.root, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            self.abandon()
            raise UserError(f"{root}: the folder cannot be written ({error.strerror})") from error

    def __enter__(self) -> SequenceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Remove the hidden folder, if `finish` has not put it into place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_frame(self, image: np.ndarray, matte: np.ndarray, labels: np.ndarray) -> None:
        """Write image, matte and labels of the next frame; see the three methods for shapes and errors."""
        self.add_image(image)
        self.add_matte(matte)
        self.add_labels(labels)

    def add_image(self, image: np.ndarray) -> Path:
        """Write the next image: ``[H, W, 3]`` uint8 RGB, not multiplied by the matte.

        Returns:
            The file, until `finish` moves it.

        Raises:
            ValueError: the type is wrong, or the size is not that of the first image.
            UserError: the disk cannot take the file.
        """
        return self._add("file_path", image, 3)

    def add_matte(self, matte: np.ndarray) -> Path:
        """Write the next matte: ``[H, W]`` uint8, 255 is the person; raises like `add_image`."""
        return self._add("fg_mask_path", matte)

    def add_labels(self, labels: np.ndarray) -> Path:
        """Write the next label image: ``[H, W]`` uint8, values of `Region`; raises like `add_image`."""
        if labels.max() > max(Region):
            raise ValueError(f"frame {len(self.paths['label_path'])}: label {labels.max()} is no Region")
        return self._add("label_path", labels)

    def _add(self, key: str, array: np.ndarray, *channels: int) -> Path:
        frame = len(self.paths[key])
        self._size = self._size or array.shape[:2]
        shape = (*self._size, *channels)
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(f"frame {frame}: expected uint8 {shape}, got {array.dtype} {array.shape}")
        path = self.folder / FILE_PATTERNS[key].format(frame)
        write_image(path, array)
        self.paths[key].append(path)
        return path

    def finish(self, sequence: TrackedSequence, landmark_residual: Tensor | None = None) -> TrackedSequence:
        """Write everything but the images, move the folder into place and read it back.

        Args:
            sequence: the added frames; its paths are those of `paths`. Of its head model, if it has one, only
                the head's middle is written.
            landmark_residual: ``[T]`` mean distance of tracked to detected landmarks, pixels of a picture 512
                high, if known. The reader leaves out frames where it is far too large.

        Raises:
            ValueError: a length differs from the number of frames, or a value is not finite.
            UserError: the disk cannot take the files.
        """
        head, camera = sequence.head.to("cpu", torch.float32), sequence.camera.to("cpu", torch.float32)
        arrays = frame_arrays(head, sequence.torso_motion)
        weights = sequence.frame_weights
        known = {} if landmark_residual is None else {"landmark_residual": landmark_residual}
        self._check(camera, {**arrays, **known, "frame_weights": weights, "camera": camera.camera_to_world})
        entries = _frame_entries(camera, weights)
        if sequence.times is not None:
            for entry, time in zip(entries, sequence.times.tolist(), strict=True):
                entry[TIME] = round(time, 6)
        if landmark_residual is not None:
            for entry, residual in zip(entries, landmark_residual.tolist(), strict=True):
                entry[RESIDUAL] = round(residual, 3)
        header = {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            "name": sequence.name,
            "fps": float(sequence.fps),
            "head_model": asdict(sequence.head_model_record),
            "neck_line": float(sequence.neck_line),
            **{k: v for k, v in entries[0].items() if k in (*INTRINSICS, "w", "h")},
            "camera_angle_x": 2 * math.atan(camera.width / (2 * entries[0]["fl_x"])),
            "camera_angle_y": 2 * math.atan(camera.height / (2 * entries[0]["fl_y"])),
            "camera_indices": [0],
        }
        splits = {key: [int(i) for i in frames] for key, frames in sequence.splits.items()}
        try:
            for index in range(len(entries)):
                values: dict[str, Any] = {key: array[index] for key, array in arrays.items()}
                np.savez(self.folder / FILE_PATTERNS["head_parameters_path"].format(index), **values)
            canonical: dict[str, Any] = {
                "identity": float_array(head.identity),
                "shell_thickness": float_array(sequence.shell_thickness),
            }
            if sequence.head_model is not None:
                canonical["middle"] = float_array(head_middle(sequence.head_model, head.identity))
            np.savez(self.folder / CANONICAL_HEAD, **canonical)
            for use in USES:
                names = [use] if use != "test" else [name for name in splits if name not in ("train", "val")]
                frames = sorted({frame for name in names for frame in splits.get(name, [])})
                self._write_json(f"transforms_{use}.json", header, [entries[i] for i in frames])
            protocol = {key: text for key, text in sequence.split_protocol.items() if key in splits}
            header |= {"splits": splits, "split_protocol": protocol, "coverage": sequence.coverage}
            self._write_json(TRANSFORMS, header, entries)
            move_into_place(self.folder, self.root, OUR_FILES)
        except OSError as error:
            raise UserError(f"{self.root}: cannot be written ({error.strerror or error})") from error
        return PartnerfaceReader(self.root).read()

    def _check(self, camera: Camera, per_frame: dict[str, np.ndarray | Tensor]) -> None:
        written = {key: len(paths) for key, paths in self.paths.items()}
        frames = written[PICTURES[0]]
        if frames == 0:
            raise ValueError("a sequence needs at least one frame")
        if {*written.values()} != {frames}:
            raise ValueError(f"pictures differ in number: {written}")
        if (camera.height, camera.width) != self._size:
            raise ValueError(f"camera is {camera.width}x{camera.height}, images are (H, W) = {self._size}")
        for name, values in per_frame.items():
            if len(values) != frames:
                raise ValueError(f"{name}: {len(values)} values for {frames} frames")
            if not np.isfinite(float_array(values)).all():
                raise ValueError(f"{name}: not finite")

    def _write_json(self, name: str, header: dict, entries: list[dict]) -> None:
        record = {**header, "timestep_indices": [e["timestep_index"] for e in entries], "frames": entries}
        (self.folder / name).write_text(json.dumps(record, indent=1, allow_nan=False))


def _is_ours(root: Path) -> bool:
    """True if a dataset in our format lies there, whole or damaged; other systems have a `TRANSFORMS` too."""
    if (root / CANONICAL_HEAD).is_file():
        return True
    with suppress(UserError):
        return read_json_table(root / TRANSFORMS, "").get("format") == FORMAT_NAME
    return False


def _frame_entries(camera: Camera, frame_weights: Tensor) -> list[dict]:
    poses = flip_camera_axes(camera.camera_to_world).tolist()
    return [
        {
            "timestep_index": index,
            "camera_index": 0,
            **dict(zip(INTRINSICS, camera.intrinsics[index].tolist(), strict=True)),
            "w": camera.width,
            "h": camera.height,
            "transform_matrix": [*poses[index], [0.0, 0.0, 0.0, 1.0]],
            "frame_weight": float(frame_weights[index]),
            **{key: pattern.format(index) for key, pattern in FILE_PATTERNS.items()},
        }
        for index in range(len(camera))
    ]
