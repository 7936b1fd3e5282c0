"""Values in datasets of other systems: numbers, arrays, matrices and angles, read or refused."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays
from partnerface.files.images import image_size

LARGEST_FRAME_BYTES = 64_000_000
"""Limit to the arrays of one file of a frame."""
LARGEST_VALUE = 1e6
"""No camera, pose or coefficient of a head in metres and pixels comes near."""
USUAL_FPS = 25.0
ADVICE = "convert the dataset again"


def checked(value: Any, shape: tuple[int, ...], name: str, source: Path) -> Tensor:
    """A float64 tensor of ``shape`` (-1 for any length) of the value ``name`` in a file.

    Raises:
        UserError: the shape is another, it is empty, or a number is missing, not finite or beyond
            `LARGEST_VALUE`.
    """
    try:
        array = np.asarray(value, np.float64)
        array = array if array.flags.writeable else array.copy()
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{source}: {name!r} is no table of numbers; {ADVICE}") from error
    fits = array.ndim == len(shape) and all(n in (-1, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits:
        expected = " x ".join("any" if n == -1 else str(n) for n in shape) or "a number"
        raise UserError(f"{source}: {name!r} has shape {array.shape}, expected {expected}; {ADVICE}")
    if not array.size:
        raise UserError(f"{source}: {name!r} is empty; {ADVICE}")
    if not (np.abs(array) < LARGEST_VALUE).all():
        raise UserError(
            f"{source}: {name!r} holds values that are not finite numbers of usual size; {ADVICE}"
        )
    return torch.from_numpy(array)


def number(record: dict, key: str, source: Path) -> float:
    """A finite number of a table.

    Raises:
        UserError: it is missing or no such number.
    """
    if key not in record:
        raise UserError(f"{source}: has no {key!r}; {ADVICE}")
    return float(checked(record.get(key), (), key, source))


def text(record: dict, key: str, source: Path) -> str:
    """A text of a table.

    Raises:
        UserError: it is missing or no text.
    """
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise UserError(f"{source}: a frame has no {key!r}; {ADVICE}")
    return value


def arrays_of(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of an npz file; those that it lacks are left out.

    Raises:
        UserError: the file is damaged or too large.
    """
    try:
        return read_arrays(path, names, LARGEST_FRAME_BYTES)
    except UserError as error:
        raise UserError(f"{error}; {ADVICE}") from error


def rigid_matrices(value: Any, name: str, source: Path) -> Tensor:
    """``[T, 3, 4]`` rigid transforms of T matrices 3x4 or 4x4.

    Raises:
        UserError: see `checked`; or one is no rotation with a translation.
    """
    matrices = checked(value, (-1, -1, 4), name, source)[:, :3]
    rotation = matrices[:, :, :3]
    fault = (rotation @ rotation.mT - torch.eye(3, dtype=torch.float64)).abs().amax((1, 2))
    wrong = (fault > 1e-3) | (torch.linalg.det(rotation) < 0.5)
    if matrices.shape[1] != 3 or wrong.any():
        where = f" in frame {int(wrong.nonzero()[0, 0])}" if wrong.any() else ""
        raise UserError(f"{source}: {name!r} holds no rotation{where}; {ADVICE}")
    return matrices


def radians(angles: Tensor, name: str, source: Path) -> Tensor:
    """The same axis-angles or Euler angles ``[T, ...]``.

    Raises:
        UserError: one is more than a whole turn, as angles in degrees are.
    """
    if (largest := float(angles.abs().max())) > 2 * math.pi:
        raise UserError(
            f"{source}: {name!r} holds an angle of {largest:.3g} radians, more than a whole turn; is it in "
            f"degrees? {ADVICE}"
        )
    return angles


def picture_scale(sizes: Tensor, width: int, height: int, source: Path) -> Tensor:
    """``[T, 2]`` factors in x and y from cameras of ``sizes`` ``[T, 2]`` (width, height) to the pictures.

    Raises:
        UserError: a size is not above 0, or of another shape than the pictures.
    """
    scale = torch.tensor([width, height]) / sizes
    if (sizes <= 0).any() or (scale[:, 0] / scale[:, 1] - 1).abs().max() > 0.01:
        raise UserError(f"{source}: camera of another shape than the pictures, {width}x{height}; {ADVICE}")
    return scale


def common_size(paths: Iterable[Path]) -> tuple[int, int]:
    """Width and height of all pictures.

    Raises:
        UserError: they differ, or one is no image.
    """
    paths = list(paths)
    width, height = image_size(paths[0])
    for path in paths[1:]:
        if (size := image_size(path)) != (width, height):
            raise UserError(
                f"{path}: is {size[0]}x{size[1]}, but {paths[0].name} is {width}x{height}; {ADVICE}"
            )
    return width, height


def frame_rate_of(table: dict, source: Path, guesses: list[str]) -> float:
    """Frames per second where a file says so, as `partnerface convert` writes it; else the usual, a guess."""
    if "fps" in table:
        return max(number(table, "fps", source), 1e-3)
    guesses.append(f"the frame rate, which is not stored: {USUAL_FPS:g}")
    return USUAL_FPS
