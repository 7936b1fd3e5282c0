"""FLAME: a head model for licence holders. Its file is never part of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.safe_unpickling import dense_array, load_pickled_arrays

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
SURFACE_NAMES = ("skin", "eye_left", "eye_right")
_FILE_IDENTITIES = 300
_EXPRESSION_RANGE = (-3.0, 3.0)
_SHAPES = {
    "v_template": "V3",
    "shapedirs": "V3S",
    "posedirs": "V3P",
    "J_regressor": "JV",
    "weights": "VJ",
    "kintree_table": "2J",
    "f": "F3",
}
"""Axes of the arrays that a file must hold, as in `shape_fault`."""


class FlameHead(HeadModel):
    """FLAME 2020 or 2023 (Li et al. 2017, "Learning a model of facial shape and expression from 4D scans").

    The rest space is the file's, moved so that the neck joint of the mean head is at the origin: FLAME
    has no head joint, it turns its head at the neck. Expressions are unnamed, the jaw is opened by
    its joint. It has no landmark embedding: a file poses and renders, and avatars train on datasets in our
    format that were tracked with it elsewhere, but ``partnerface track`` and `complete_sequence` refuse it.

    Args:
        path: the ``.npz`` or ``.pkl`` file from https://flame.is.tue.mpg.de.
        num_identity: leading identity components kept, at most 300.
        num_expression: leading expression components kept, at most 100.
        static_offset: ``[V, 3]`` metres added to the mean head, of one person; rows beyond the file's
            vertices are left out.

    Attributes:
        origin: ``[3]`` the neck joint of the mean head in the file's own coordinates.

    Raises:
        UserError: the file is missing, unsafe, or lacks an array, or ``static_offset`` has too few rows.
    """

    def __init__(
        self,
        path: Path,
        num_identity: int = 100,
        num_expression: int = 50,
        static_offset: np.ndarray | None = None,
    ) -> None:
        arrays = _read_arrays(Path(path))
        origin = (arrays["J_regressor"] @ arrays["v_template"])[JOINT_NAMES.index("neck")]
        if static_offset is not None:
            vertices = len(arrays["v_template"])
            if len(static_offset) < vertices:
                raise UserError(
                    f"FLAME file {path}: has {vertices} vertices, the static offset {len(static_offset)}"
                )
            arrays["v_template"] = arrays["v_template"] + static_offset[:vertices]
        super().__init__(_asset(Path(path), arrays, origin, num_identity, num_expression))
        self.origin = torch.from_numpy(origin.astype(np.float64))


def _asset(
    path: Path, arrays: dict[str, np.ndarray], origin: np.ndarray, num_identity: int, num_expression: int
) -> HeadModelAsset:
    template, regressor = arrays["v_template"], arrays["J_regressor"]
    shapes = np.moveaxis(arrays["shapedirs"], 2, 0)
    available = (min(len(shapes), _FILE_IDENTITIES), max(len(shapes) - _FILE_IDENTITIES, 0))
    for flag, wanted, has in zip(
        ("num_identity", "num_expression"), (num_identity, num_expression), available, strict=True
    ):
        if not 1 <= wanted <= has:
            raise UserError(f"FLAME file {path}: {flag} is {wanted}, but the file has {has} components")
    identity = shapes[:num_identity]
    expression = shapes[_FILE_IDENTITIES : _FILE_IDENTITIES + num_expression]
    joints = regressor @ template
    faces = arrays["f"].astype(np.int32)
    none = np.zeros((0, 3), np.float32)
    return HeadModelAsset(
        name="flame",
        version=path.stem,
        template_vertices=(template - origin).astype(np.float32),
        identity_basis=identity.astype(np.float32),
        expression_basis=expression.astype(np.float32),
        template_joints=(joints - origin).astype(np.float32),
        joint_identity_basis=(regressor @ identity).astype(np.float32),
        # The file marks the root's parent with the largest unsigned number.
        parents=np.array([-1, *arrays["kintree_table"][0, 1:].astype(np.int64)]),
        skinning_weights=arrays["weights"].astype(np.float32),
        faces=faces,
        uv=np.zeros((1, 2), np.float32),
        uv_faces=np.zeros_like(faces),
        face_parts=_face_parts(faces, arrays["weights"]),
        part_names=list(SURFACE_NAMES),
        joint_names=list(JOINT_NAMES),
        expression_names=[f"expression_{i:03d}" for i in range(num_expression)],
        expression_range=np.array(_EXPRESSION_RANGE, np.float32),
        canonical_expression=np.zeros(num_expression, np.float32),
        landmark_faces=none[:, 0].astype(np.int32),
        landmark_barycentric=none,
        landmark_spread=none[:, 0],
        pose_correctives=np.moveaxis(arrays["posedirs"], 2, 0).astype(np.float32),
        joint_expression_basis=(regressor @ expression).astype(np.float32),
    )


def _face_parts(faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Eyeballs are the faces that turn with an eye joint."""
    parts = np.zeros(len(faces), np.int8)
    for name in ("eye_left", "eye_right"):
        turns = weights[:, JOINT_NAMES.index(name)] > 0.5
        parts[turns[faces].all(1)] = SURFACE_NAMES.index(name)
    return parts


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(
            f"FLAME file {path}: not found; download it from https://flame.is.tue.mpg.de (sign-up needed)"
        )
    if path.suffix == ".pkl":
        values = load_pickled_arrays(path)
    elif path.suffix == ".npz":
        values = read_arrays(path, _SHAPES)
    else:
        raise UserError(f"FLAME file {path}: must end in .npz or .pkl")
    if missing := [key for key in _SHAPES if key not in values]:
        raise UserError(f"FLAME file {path}: has no {', '.join(missing)}; is it a FLAME 2020 or 2023 file?")
    arrays = {}
    for key in _SHAPES:
        try:
            arrays[key] = dense_array(values[key])
        except (ValueError, MemoryError) as error:
            raise UserError(f"FLAME file {path}: {key} is no array ({error})") from error
    if fault := shape_fault(arrays, _SHAPES, {"J": len(JOINT_NAMES), "P": 9 * (len(JOINT_NAMES) - 1)}):
        raise UserError(f"FLAME file {path}: {fault}")
    _check_values(path, arrays)
    return arrays


def _check_values(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(f"FLAME file {path}: {key} holds values that are not finite")
    faces = arrays["f"]
    if not faces.size or not 0 <= faces.min() <= faces.max() < len(arrays["v_template"]):
        raise UserError(f"FLAME file {path}: f is empty or points outside v_template")
    if (arrays["weights"] < 0).any() or (arrays["weights"].sum(1) < 1e-6).any():
        raise UserError(f"FLAME file {path}: weights are negative or sum to zero")
    parents = arrays["kintree_table"][0, 1:]
    if any(not 0 <= parent <= row for row, parent in enumerate(parents.tolist())):
        raise UserError(f"FLAME file {path}: kintree_table names a parent that is no earlier joint")
