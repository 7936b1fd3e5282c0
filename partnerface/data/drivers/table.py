"""A table of expressions and poses: JSON, npz or npy; docs/driving.md has the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partnerface.data.drivers.named_tracks import by_name, eye_angles, eye_joints, rotations
from partnerface.data.drivers.performance import Recording
from partnerface.errors import UserError
from partnerface.files.arrays import read_array, read_arrays, shape_fault
from partnerface.files.plain_values import read_json_table
from partnerface.head_models.head_model import HeadModel

DEFAULT_FPS = 25.0
SHAPES = {
    "expression": "TN",
    "names": "N",
    "neutral": "N",
    "head_degrees": "T3",
    "rotation": "T33",
    "translation": "T3",
    "eye_degrees": "T2",
    "fps": "",
}
"""Keys of a table and their axes: T frames, N names. ``expression`` alone is required."""

LARGEST_VALUE = 100.0
"""A coefficient or a distance in metres; more is damage or another unit."""


def read_table(path: Path, head_model: HeadModel, *, fps: float | None = None) -> Recording:
    """Read a table.

    Args:
        path: a JSON or npz file with the keys of `SHAPES`, or an npy file with the expression alone.
        head_model: gives the expressions that they become, by name, or in its order where there are no names.
        fps: frames per second, instead of what the file says.

    Raises:
        UserError: the file cannot be read, or a key is missing, unknown, of a wrong shape or not finite.
    """
    values = _values(path)
    if unknown := sorted(set(values) - set(SHAPES)):
        raise UserError(f"{path}: unknown key {unknown[0]!r:.60}; known are {', '.join(SHAPES)}")
    if "expression" not in values:
        raise UserError(f"{path}: no expression")
    for name, value in values.items():
        kinds = "U" if name == "names" else "fiu"
        if value.dtype.kind not in kinds:
            raise UserError(f"{path}: {name} does not hold {'names' if name == 'names' else 'numbers'}")
        if kinds != "U" and not (np.isfinite(value).all() and (np.abs(value) < 1e4).all()):
            raise UserError(f"{path}: {name} has values that are not finite, or huge")
    if fault := shape_fault(values, SHAPES):
        raise UserError(f"{path}: {fault}")
    if not len(values["expression"]):
        raise UserError(f"{path}: expression has no rows")
    tensors = {
        name: torch.from_numpy(value.astype(np.float32)) for name, value in values.items() if name != "names"
    }
    for name in ("expression", "translation", "neutral"):
        if name in tensors and float(tensors[name].abs().amax()) > LARGEST_VALUE:
            raise UserError(f"{path}: {name} goes beyond {LARGEST_VALUE:g}")
    rate = float(tensors.get("fps", DEFAULT_FPS) if fps is None else fps)
    if not 1 <= rate <= 1000:
        raise UserError(f"{path}: {rate:g} frames per second; give a number of 1 to 1000")
    expression, neutral, notes = _expressions(path, tensors, values, head_model)
    if fps is None and "fps" not in values:
        notes.append(
            f"{path.name}: no rate: {DEFAULT_FPS:g} frames per second assumed (--fps says otherwise)"
        )
    return Recording(
        name=path.name,
        fps=rate,
        expression=expression,
        joint_rotations=_joints(tensors, expression, head_model),
        rotation=_rotation(path, tensors),
        translation=tensors.get("translation"),
        tracked=torch.ones(len(expression), dtype=torch.bool),
        neutral=neutral,
        notes=notes,
    )


def _values(path: Path) -> dict[str, np.ndarray]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {"expression": read_array(path)}
    if suffix == ".npz":
        return read_arrays(path)
    table = read_json_table(path, "see the keys in docs/driving.md")
    columns = table.get("expression")
    if isinstance(columns, dict):  # one list for each name
        table = {**table, "names": list(columns), "expression": [list(row) for row in _rows(path, columns)]}
    found = {}
    for name, value in table.items():
        try:
            found[name] = np.array(value)
        except ValueError as error:
            raise UserError(f"{path}: the rows of {name!r:.60} differ in length") from error
    return found


def _rows(path: Path, columns: dict[str, Any]) -> list[tuple]:
    try:
        return list(zip(*columns.values(), strict=True))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: expression does not hold one list for each name, all as long") from error


def _expressions(
    path: Path, tensors: dict[str, Tensor], values: dict[str, np.ndarray], head_model: HeadModel
) -> tuple[Tensor, Tensor | None, list[str]]:
    expression, neutral, wanted = tensors["expression"], tensors.get("neutral"), head_model.num_expression
    if "names" not in values:
        if expression.shape[1] != wanted:
            raise UserError(
                f"{path}: {expression.shape[1]} expressions without names; the head model "
                f"{head_model.asset.name} has {wanted}"
            )
        return expression, neutral, []
    names = [str(name) for name in values["names"]]
    found, missing = by_name(expression, names, head_model)
    if len(missing) == wanted:
        raise UserError(
            f"{path}: none of its names ({', '.join(names)[:60]}, ...) is an expression of the head model "
            f"{head_model.asset.name}; it has {', '.join(head_model.asset.expression_names[:3])}, ..."
        )
    notes = [f"{path.name}: {len(missing)} of {wanted} expressions have no values: zero"] if missing else []
    return found, None if neutral is None else by_name(neutral[None], names, head_model)[0][0], notes


def _rotation(path: Path, tensors: dict[str, Tensor]) -> Tensor:
    if "rotation" in tensors:
        rotation = tensors["rotation"]
        eye = torch.eye(3).expand_as(rotation)
        if (
            not torch.allclose(rotation @ rotation.mT, eye, atol=1e-3)
            or (torch.linalg.det(rotation) < 0).any()
        ):
            raise UserError(f"{path}: rotation holds matrices that are no rotations")
        return rotation
    return rotations(*tensors.get("head_degrees", torch.zeros(len(tensors["expression"]), 3)).deg2rad().T)


def _joints(tensors: dict[str, Tensor], expression: Tensor, head_model: HeadModel) -> Tensor:
    looks = eye_angles(expression, head_model)
    if "eye_degrees" in tensors:
        yaw, pitch = tensors["eye_degrees"].deg2rad().T
        looks = dict.fromkeys(looks, (yaw, pitch))
    return eye_joints(looks, head_model)
