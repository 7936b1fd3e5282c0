"""PartnerfaceReader: reads and checks a dataset in our own format (`partnerface.data.sequence_format`)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.frame_plausibility import impossible_frames, leave_out, left_out_report
from partnerface.data.head_parameter_files import ADVICE, are_rotations, load_arrays, read_head_parameters
from partnerface.data.image_files import image_size
from partnerface.data.sequence_format import (
    CANONICAL_HEAD,
    FORMAT_NAME,
    FORMAT_VERSION,
    INTRINSICS,
    RESIDUAL,
    TRANSFORMS,
    flip_camera_axes,
    resolve_inside,
)
from partnerface.data.sequence_reader import SequenceReader
from partnerface.data.tracked_sequence import HeadModelRecord, TrackedSequence
from partnerface.json_files import read_json_table
from partnerface.user_error import UserError

PATH_KEYS = ("file_path", "fg_mask_path", "label_path", "head_parameters_path")
LARGEST_IDENTITY = 50.0
"""Standard deviations of one coefficient."""

THICKEST_SHELL_M = 1.0
LONGEST_NAME = 200

logger = logging.getLogger(__name__)


class PartnerfaceReader(SequenceReader):
    """Reads what `SequenceWriter` writes; ``partnerface track`` and ``convert`` make it.

    Args:
        root: the dataset's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def read(self) -> TrackedSequence:
        """Read and check everything but the pixels.

        Frames whose tracking cannot be are left out of every split, and named in a warning.

        Raises:
            UserError: a file is missing, a key or a size is wrong, a value is not finite, or a path
                leaves the folder; the message names the file.
        """
        source = self.root / TRANSFORMS
        if not source.is_file():
            raise UserError(
                f"{source}: missing; {self.root} is not a partnerface dataset "
                "(make one with partnerface track)"
            )
        record = read_json_table(resolve_inside(self.root, TRANSFORMS, source), ADVICE)
        if record.get("format") != FORMAT_NAME or record.get("format_version") != FORMAT_VERSION:
            found = f"{record.get('format')!r} version {record.get('format_version')!r}"
            raise UserError(
                f"{source}: format {found}; this reads {FORMAT_NAME!r} version {FORMAT_VERSION}; {ADVICE}"
            )
        try:
            sequence, residual = self._sequence(record, source)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, UserError):
                raise
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(f"{source}: {problem}; {ADVICE}") from error
        frames = impossible_frames(sequence.camera, sequence.head, sequence.frame_weights, residual)
        if frames:
            logger.warning("dataset %s: frames left out: %s", self.root, left_out_report(frames))
        return leave_out(sequence, frames)

    def _sequence(self, record: dict, source: Path) -> tuple[TrackedSequence, Tensor]:
        entries = record["frames"]
        if not isinstance(entries, list) or not entries:
            raise UserError(f"{source}: 'frames' lists no frames; {ADVICE}")
        if wrong := [i for i, entry in enumerate(entries) if not isinstance(entry, dict)]:
            raise ValueError(f"frame {wrong[0]} is not a table of keys")
        width, height = int(record["w"]), int(record["h"])
        camera = Camera(_intrinsics(entries), _poses(entries), width, height)
        paths = {key: self._files(entries, key, source) for key in PATH_KEYS}
        for key in ("file_path", "fg_mask_path", "label_path"):
            for path in paths[key]:
                if (size := image_size(path)) != (width, height):
                    raise UserError(
                        f"{path}: is {size[0]}x{size[1]}, the dataset is {width}x{height}; {ADVICE}"
                    )
        head_model = _head_model(_table(record["head_model"], "head_model"))
        canonical = load_arrays(
            self._file(CANONICAL_HEAD, source),
            {"identity": (head_model.num_identity,), "shell_thickness": (-1,)},
        )
        for key, low, high in (
            ("identity", -LARGEST_IDENTITY, LARGEST_IDENTITY),
            ("shell_thickness", 0, THICKEST_SHELL_M),
        ):
            if ((canonical[key] < low) | (canonical[key] > high)).any():
                raise UserError(
                    f"{self.root / CANONICAL_HEAD}: {key!r} goes beyond {low:g} .. {high:g}; {ADVICE}"
                )
        head, torso_motion = read_head_parameters(
            paths["head_parameters_path"], canonical["identity"], head_model
        )
        weights = torch.tensor([float(e["frame_weight"]) for e in entries])
        if not ((weights >= 0) & (weights <= 1)).all():
            raise ValueError("'frame_weight' is not between 0 and 1")
        residual = torch.tensor([float(e.get(RESIDUAL, "nan")) for e in entries])
        sequence = TrackedSequence(
            name=_name(record["name"]),
            image_paths=paths["file_path"],
            matte_paths=paths["fg_mask_path"],
            label_paths=paths["label_path"],
            camera=camera,
            head=head,
            head_model=head_model,
            fps=_positive(record["fps"], "fps"),
            frame_weights=weights,
            torso_motion=torso_motion,
            neck_line=_neck_line(record["neck_line"]),
            shell_thickness=canonical["shell_thickness"],
            splits=_splits(record["splits"], weights),
            coverage=_coverage(_table(record["coverage"], "coverage")),
        )
        return sequence, residual

    def _files(self, entries: list[dict], key: str, source: Path) -> list[Path]:
        paths = [self._file(entry[key], source) for entry in entries]
        path, times = Counter(paths).most_common(1)[0]
        if times > 1:
            raise UserError(f"{source}: {key!r} names {path.name} in {times} frames; {ADVICE}")
        return paths

    def _file(self, relative: object, source: Path) -> Path:
        path = resolve_inside(self.root, relative, source)
        if not path.is_file():
            raise UserError(f"{path}: missing, though {source.name} names it; {ADVICE}")
        return path


def _intrinsics(entries: list[dict]) -> Tensor:
    for key in INTRINSICS:
        values = _finite(torch.tensor([float(entry[key]) for entry in entries]), key)
        if key.startswith("fl") and (values <= 0).any():
            raise ValueError(f"{key!r} is {float(values.min()):g}, a focal length is more than 0")
    return torch.tensor([[float(entry[key]) for key in INTRINSICS] for entry in entries])


def _head_model(record: dict) -> HeadModelRecord:
    values = {field.name: record[field.name] for field in fields(HeadModelRecord)}
    for name, value in values.items():
        wanted = int if name.startswith("num_") else str
        if type(value) is not wanted or (wanted is int and value < 1):
            raise ValueError(f"'head_model' has {name} {value!r}")
    return HeadModelRecord(**values)


def _poses(entries: list[dict]) -> Tensor:
    try:
        matrices = [torch.tensor(e["transform_matrix"], dtype=torch.float32) for e in entries]
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError("'transform_matrix' is not a 4x4 matrix of numbers") from error
    if any(matrix.shape != (4, 4) for matrix in matrices):
        raise ValueError("'transform_matrix' is not a 4x4 matrix")
    matrices = torch.stack(matrices)
    poses = flip_camera_axes(_finite(matrices, "transform_matrix")[:, :3])
    if not are_rotations(poses[:, :, :3]).all():
        raise ValueError("'transform_matrix' does not hold a rotation")
    return poses


def _finite(values: Tensor, name: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise ValueError(f"{name!r} holds values that are not finite")
    return values


def _positive(value: object, name: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name!r} is {number}")
    return number


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(f"'name' is not a line of text of up to {LONGEST_NAME} letters")
    return value


def _neck_line(value: object) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"'neck_line' is {number}, not between 0 and 1")
    return number


def _coverage(record: dict) -> dict[str, dict[str, float]]:
    for name, values in record.items():
        for key, value in _table(values, f"coverage of {name}").items():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"coverage of {name!r}: {key!r} is not a number")
    return record


def _table(value: object, name: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is not a table")
    return value


def _splits(splits: dict[str, list[int]], weights: Tensor) -> dict[str, list[int]]:
    if not all(isinstance(frames, list) for frames in _table(splits, "splits").values()):
        raise ValueError("'splits' is not a table of lists")
    seen: set[int] = set()
    for name, frames in splits.items():
        if any(type(i) is not int or not 0 <= i < len(weights) for i in frames):
            raise ValueError(f"split {name!r} names a frame that does not exist")
        if any(weights[i] <= 0 for i in frames):
            raise ValueError(f"split {name!r} holds a frame without a tracked head")
        if name != "unseen_expression":
            if seen.intersection(frames) or len(set(frames)) != len(frames):
                raise ValueError(f"split {name!r} holds a frame twice or shares one with another split")
            seen.update(frames)
    if not splits.get("train"):
        raise ValueError("'splits' has no frames in 'train'")
    return {name: list(frames) for name, frames in splits.items()}
