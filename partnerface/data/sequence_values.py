"""Values of a dataset's ``transforms.json``, each checked: a ValueError names the key that is wrong."""

from __future__ import annotations

import math
from dataclasses import fields

import torch
from torch import Tensor

from partnerface.data.head_parameter_files import are_rotations
from partnerface.data.sequence_format import INTRINSICS, flip_camera_axes
from partnerface.data.tracked_sequence import HeadModelRecord

LONGEST_NAME = 200


def camera_intrinsics(entries: list[dict]) -> Tensor:
    """``[T, 4]`` fx, fy, cx, cy of the frames' entries."""
    for key in INTRINSICS:
        values = _finite(torch.tensor([float(entry[key]) for entry in entries]), key)
        if key.startswith("fl") and (values <= 0).any():
            raise ValueError(f"{key!r} is {float(values.min()):g}, a focal length is more than 0")
    return torch.tensor([[float(entry[key]) for key in INTRINSICS] for entry in entries])


def head_model_of(record: dict) -> HeadModelRecord:
    """The head model that a dataset names."""
    values = {field.name: record[field.name] for field in fields(HeadModelRecord)}
    for name, value in values.items():
        wanted = int if name.startswith("num_") else str
        if type(value) is not wanted or (wanted is int and value < 1):
            raise ValueError(f"'head_model' has {name} {value!r}")
    return HeadModelRecord(**values)


def camera_poses(entries: list[dict]) -> Tensor:
    """``[T, 3, 4]`` camera to world, in OpenCV's axes, of the frames' entries."""
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


def positive(value: object, name: str) -> float:
    """A finite number above 0."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name!r} is {number}")
    return number


def printable_name(value: object) -> str:
    """A name that fits into a line of a log."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(f"'name' is not a line of text of up to {LONGEST_NAME} letters")
    return value


def neck_line_of(value: object) -> float:
    """A row in [0, 1]."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"'neck_line' is {number}, not between 0 and 1")
    return number


def coverage_of_splits(record: dict) -> dict[str, dict[str, float]]:
    """Finite numbers by split and name."""
    for name, values in record.items():
        for key, value in table(values, f"coverage of {name}").items():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"coverage of {name!r}: {key!r} is not a number")
    return record


def table(value: object, name: str) -> dict:
    """A table of keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is not a table")
    return value


def checked_splits(splits: dict[str, list[int]], weights: Tensor) -> dict[str, list[int]]:
    """Frames by split: each exists, is tracked, and is in one split, but for ``unseen_expression``."""
    if not all(isinstance(frames, list) for frames in table(splits, "splits").values()):
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
