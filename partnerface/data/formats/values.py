"""Values of a dataset on disk, each checked: head parameters (one npz a frame) and ``transforms.json``."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partnerface.data.formats.layout import INTRINSICS, flip_camera_axes
from partnerface.data.sequence import HeadModelRecord
from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays
from partnerface.head_models.head_parameters import HeadParameters

FRAME_ARRAYS = {
    "expression": (-1,),
    "joint_rotations": (-1, 3, 3),
    "rotation": (3, 3),
    "translation": (3,),
    "torso_motion": (2, 3),
}
TORSO_ARRAYS = {"torso_rotation": (3, 3), "torso_translation": (3,)}
ADVICE = "track the video again"
LARGEST_FRAME_VALUES_BYTES = 64_000_000
"""Limit to the arrays of one file: a frame takes 1 kB, an identity and a shell 100 kB."""
LONGEST_NAME, LONGEST_PROTOCOL = 200, 1000


def float_array(values: np.ndarray | Tensor) -> np.ndarray:
    """Values on any device as float32 numpy."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, np.float32)


def frame_arrays(head: HeadParameters, torso_motion: Tensor) -> dict[str, np.ndarray]:
    """What the files of T frames hold: float32 arrays ``[T, ...]`` by name."""
    values = {**vars(head), "torso_motion": torso_motion}
    names = [name for name in (*FRAME_ARRAYS, *TORSO_ARRAYS) if values[name] is not None]
    return {name: float_array(values[name]) for name in names}


def load_arrays(
    path: Path, shapes: dict[str, tuple[int, ...]], optional: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Float32 tensors of an npz, of ``shapes`` with -1 for any length; those in ``optional`` may be missing.

    Raises:
        UserError: the file is damaged, or an array is missing, of another shape or not finite.
    """
    try:
        arrays = read_arrays(path, shapes, LARGEST_FRAME_VALUES_BYTES)
    except UserError as error:
        raise UserError(f"{error}; {ADVICE}") from error
    tensors = {}
    for key, shape in shapes.items():
        if key not in arrays:
            if key in optional:
                continue
            raise UserError(f"{path}: has no {key!r}; {ADVICE}")
        array = arrays[key]
        if array.ndim != len(shape) or any(n not in (-1, m) for n, m in zip(shape, array.shape, strict=True)):
            raise UserError(f"{path}: {key!r} has shape {array.shape}, expected {shape}; {ADVICE}")
        # A double beyond the range of floats becomes infinite.
        with np.errstate(over="ignore"):
            single = array.astype(np.float32) if array.dtype.kind == "f" else np.array(np.nan)
        if not np.isfinite(single).all():
            raise UserError(f"{path}: {key!r} holds values that are not finite numbers; {ADVICE}")
        tensors[key] = torch.from_numpy(single)
    return tensors


def read_head_parameters(
    paths: list[Path], identity: Tensor, head_model: HeadModelRecord
) -> tuple[HeadParameters, Tensor]:
    """Head parameters and torso motion ``[T, 2, 3]`` of T frames, one npz each, of an identity ``[I]``.

    Raises:
        UserError: a file is damaged or does not fit the others or the head model.
    """
    shapes = {**FRAME_ARRAYS, "expression": (head_model.num_expression,), **TORSO_ARRAYS}
    frames: list[dict[str, Tensor]] = []
    for path in paths:
        frame = load_arrays(path, shapes, optional=tuple(TORSO_ARRAYS))
        if frames and (
            frame.keys() != frames[0].keys()
            or frame["joint_rotations"].shape != frames[0]["joint_rotations"].shape
        ):
            raise UserError(f"{path}: holds other arrays than {paths[0].name}; {ADVICE}")
        frames.append(frame)
    stacked = {key: torch.stack([frame[key] for frame in frames]) for key in frames[0]}
    for key in ("rotation", "torso_rotation", "joint_rotations"):
        if key in stacked and len(wrong := (~are_rotations(stacked[key])).nonzero()):
            raise UserError(f"{paths[int(wrong[0, 0])]}: {key!r} is not a rotation matrix; {ADVICE}")
    torso_motion = stacked.pop("torso_motion")
    return HeadParameters(identity=identity, **stacked), torso_motion


def are_rotations(matrices: Tensor) -> Tensor:
    """``[...]`` bool: which matrices ``[..., 3, 3]`` are orthonormal and right-handed."""
    x, y, z = matrices.unbind(-2)
    # The third row of a rotation is the cross product of the first two; of a reflection, its opposite.
    handed = (torch.linalg.cross(x, y) - z).abs().amax(-1)
    residual = (matrices @ matrices.transpose(-1, -2) - torch.eye(3)).abs().amax((-1, -2))
    return torch.maximum(handed, residual) < 1e-3


def camera_intrinsics(entries: list[dict]) -> Tensor:
    """``[T, 4]`` fx, fy, cx, cy of the frames' entries."""
    intrinsics = torch.tensor([[float(entry[key]) for key in INTRINSICS] for entry in entries])
    for key, values in zip(INTRINSICS, intrinsics.unbind(1), strict=True):
        if (_finite(values, key) <= 0).any() and key.startswith("fl"):
            raise ValueError(f"{key!r} is {float(values.min()):g}, a focal length is more than 0")
    return intrinsics


def head_model_of(record: dict) -> HeadModelRecord:
    """The head model that a dataset names."""
    values = {field.name: record[field.name] for field in fields(HeadModelRecord)}
    for name, value in values.items():
        number = name.startswith("num_")
        if not (type(value) is int and value > 0 if number else type(value) is str):
            raise ValueError(f"'head_model' has {name} {value!r}")
    return HeadModelRecord(**values)


def camera_poses(entries: list[dict]) -> Tensor:
    """``[T, 3, 4]`` camera to world, in OpenCV's axes, of the frames' entries."""
    try:
        frames = [torch.tensor(e["transform_matrix"], dtype=torch.float32) for e in entries]
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError("'transform_matrix' is not a 4x4 matrix of numbers") from error
    if any(matrix.shape != (4, 4) for matrix in frames):
        raise ValueError("'transform_matrix' is not a 4x4 matrix")
    poses = flip_camera_axes(_finite(torch.stack(frames), "transform_matrix")[:, :3])
    if not are_rotations(poses[:, :, :3]).all():
        raise ValueError("'transform_matrix' does not hold a rotation")
    return poses


def _finite(values: Tensor, name: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise ValueError(f"{name!r} holds values that are not finite")
    return values


def positive(value: Any, name: str) -> float:
    """A finite number above 0."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name!r} is {number}")
    return number


def split_protocol_of(record: dict) -> dict[str, str]:
    """How the frames of each split were chosen; empty for a dataset of before this was written down."""
    protocol = table(record.get("split_protocol", {}), "split_protocol")
    return {
        name: line_of_text(text, "split_protocol", LONGEST_PROTOCOL)
        for name, text in protocol.items()
        if name in record["splits"]
    }


def line_of_text(value: object, key: str, longest: int) -> str:
    """Printable text of one line."""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise ValueError(f"{key!r} is not a line of text of up to {longest} letters")
    return value


def neck_line_of(value: Any) -> float:
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
    return {name: list(frames) for name, frames in splits.items() if frames}
