"""Head parameters on disk: one npz a frame, and the checks on reading them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.array_archives import read_arrays
from partnerface.data.tracked_sequence import HeadModelRecord
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.user_error import UserError

FRAME_ARRAYS = {
    "expression": (-1,),
    "joint_rotations": (-1, 3, 3),
    "rotation": (3, 3),
    "translation": (3,),
    "torso_motion": (2, 3),
}
TORSO_ARRAYS = {"torso_rotation": (3, 3), "torso_translation": (3,)}
ADVICE = "track the video again"
LARGEST_BYTES = 64_000_000
"""Of one file's arrays; a frame takes a thousand bytes, an identity and a shell a hundred thousand."""


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
    """Float32 tensors of an npz.

    Args:
        path: the file.
        shapes: shape of each array by its name; -1 is any length.
        optional: names that may be missing.

    Raises:
        UserError: the file is damaged, or an array is missing, of another shape or not finite.
    """
    try:
        arrays = read_arrays(path, shapes, LARGEST_BYTES)
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
    """Head parameters and torso motion ``[T, 2, 3]`` of T frames.

    Args:
        paths: one npz a frame.
        identity: ``[I]``.
        head_model: says how many expression coefficients there are.

    Raises:
        UserError: a file is damaged or does not fit the others.
    """
    shapes = {**FRAME_ARRAYS, "expression": (head_model.num_expression,), **TORSO_ARRAYS}
    frames = []
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
