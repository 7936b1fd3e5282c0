"""FLAME: a head model for licence holders. Its file is never part of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault
from partnerface.head_models.flame_mouth import (
    TEETH_VERTICES,
    Teeth,
    closing_faces,
    mouth_opening,
    teeth_behind,
)
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.landmark_store import surface_digest
from partnerface.head_models.safe_unpickling import dense_array, load_pickled_arrays

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
SURFACE_NAMES = ("skin", "eye_left", "eye_right", "mouth_cavity", "teeth_upper", "teeth_lower")
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
    """FLAME 2020, 2023 or 2023 Open (Li et al. 2017, "Learning a model of facial shape and expression ...").

    The rest space is the file's, moved so that the neck joint of the mean head is at the origin: FLAME
    has no head joint, it turns its head at the neck. Expressions are unnamed, the jaw is opened by
    its joint. A surface between the lips closes the mouth, or teeth stand in it. The file has no
    landmark embedding: ``partnerface track --head_model FILE`` finds one, which is kept in the cache and
    belongs to the head from then on.

    Args:
        path: the ``.npz`` or ``.pkl`` file from https://flame.is.tue.mpg.de.
        num_identity: leading identity components kept, at most 300.
        num_expression: leading expression components kept, at most 100.
        teeth: add 120 vertices of teeth behind the lips, in VHAP's order (5143 vertices for 5023): the upper
            turn with the head, the lower with the jaw.
        static_offset: ``[V, 3]`` metres of one person, added to the template before the joints are regressed,
            or an ``.npz`` with such an array ``static_offset``, such as VHAP's ``canonical_flame_param.npz``.
            Its V are those of the file, or with ``teeth`` 120 more; further rows of an array are left out.

    Attributes:
        origin: ``[3]`` the neck joint of the mean head in the file's own coordinates, the origin here.

    Raises:
        UserError: a file is missing, unsafe, or lacks an array; the offset is of another size, or
            there is no open mouth for teeth.
    """

    def __init__(
        self,
        path: Path,
        num_identity: int = 100,
        num_expression: int = 50,
        teeth: bool = False,
        static_offset: Path | np.ndarray | None = None,
    ) -> None:
        arrays = _read_arrays(Path(path))
        surface = surface_digest(arrays["v_template"], arrays["f"])
        asset, origin = _asset(Path(path), arrays, num_identity, num_expression, teeth, static_offset)
        super().__init__(asset, surface)
        self.origin = torch.from_numpy(origin.astype(np.float64))


def _asset(
    path: Path,
    arrays: dict[str, np.ndarray],
    num_identity: int,
    num_expression: int,
    teeth: bool,
    static_offset: Path | np.ndarray | None,
) -> tuple[HeadModelAsset, np.ndarray]:
    """The head, and the neck joint of its mean in the file's coordinates ``[3]``."""
    faces, parts = arrays["f"].astype(np.int32), _face_parts(arrays["f"], arrays["weights"])
    jaw = arrays["weights"][:, JOINT_NAMES.index("jaw")]
    opening = mouth_opening(arrays["v_template"], faces[parts == SURFACE_NAMES.index("skin")], jaw)
    if teeth:
        try:
            added = teeth_behind(arrays["v_template"], opening)
        except UserError as error:
            raise UserError(f"FLAME file {path}: {error}") from error
        first = len(arrays["v_template"])
        arrays = _with_teeth(arrays, added)
        upper = added.is_upper[added.faces[:, 0]]
        names = np.where(upper, SURFACE_NAMES.index("teeth_upper"), SURFACE_NAMES.index("teeth_lower"))
        faces = np.concatenate([faces, first + added.faces.astype(np.int32)])
        parts = np.concatenate([parts, names.astype(np.int8)])
    elif opening is not None:
        closing = closing_faces(arrays["v_template"], opening).astype(np.int32)
        faces = np.concatenate([faces, closing])
        cavity = np.full(len(closing), SURFACE_NAMES.index("mouth_cavity"), np.int8)
        parts = np.concatenate([parts, cavity])
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
    if static_offset is not None:
        template = template + _static_offset(path, static_offset, len(template), teeth)
    joints = regressor @ template
    origin = joints[JOINT_NAMES.index("neck")]
    none = np.zeros((0, 3), np.float32)
    asset = HeadModelAsset(
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
        face_parts=parts,
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
    return asset, origin


def _with_teeth(arrays: dict[str, np.ndarray], teeth: Teeth) -> dict[str, np.ndarray]:
    """The file's arrays with 120 more vertices: they follow the lips' identity, no expression and no pose."""
    identity = np.arange(arrays["shapedirs"].shape[2]) < _FILE_IDENTITIES
    weights = np.zeros((TEETH_VERTICES, len(JOINT_NAMES)))
    weights[teeth.is_upper, JOINT_NAMES.index("neck")] = 1
    weights[~teeth.is_upper, JOINT_NAMES.index("jaw")] = 1
    vertices = teeth.share @ arrays["v_template"] + teeth.offsets
    shapes = np.tensordot(teeth.share, arrays["shapedirs"], 1) * identity
    poses = np.zeros((TEETH_VERTICES, *arrays["posedirs"].shape[1:]))
    regressor = np.zeros((len(JOINT_NAMES), TEETH_VERTICES))
    return arrays | {
        "v_template": np.concatenate([arrays["v_template"], vertices]),
        "shapedirs": np.concatenate([arrays["shapedirs"], shapes]),
        "posedirs": np.concatenate([arrays["posedirs"], poses]),
        "J_regressor": np.concatenate([arrays["J_regressor"], regressor], 1),
        "weights": np.concatenate([arrays["weights"], weights]),
    }


def _static_offset(file: Path, given: Path | np.ndarray, count: int, teeth: bool) -> np.ndarray:
    """``[V, 3]`` metres for the ``count`` vertices of a FLAME file, see `FlameHead`."""
    if not isinstance(given, np.ndarray):
        return _read_static_offset(Path(given), count, teeth)
    if len(given) == count - TEETH_VERTICES:
        # A file with teeth of its own, and an offset without.
        return np.concatenate([given, np.zeros((TEETH_VERTICES, 3))])
    if len(given) < count:
        raise UserError(f"FLAME file {file}: has {count} vertices, the static offset {len(given)}")
    return given[:count]


def _read_static_offset(path: Path, count: int, teeth: bool) -> np.ndarray:
    """``[V, 3]`` metres; zero on teeth that the file does not have."""
    values = read_arrays(path, ["static_offset"])
    offset = values.get("static_offset")
    if offset is None or offset.dtype.kind != "f" or not np.isfinite(offset).all():
        raise UserError(f"static_offset {path}: has no array static_offset of finite numbers")
    offset = offset[0] if offset.ndim == 3 and len(offset) == 1 else offset
    if teeth and offset.shape == (count - TEETH_VERTICES, 3):
        offset = np.concatenate([offset, np.zeros((TEETH_VERTICES, 3))])
    if offset.shape != (count, 3):
        hint = "" if teeth else "; does it belong to a head with teeth?"
        raise UserError(f"static_offset {path}: of shape {offset.shape}, the head has {count} vertices{hint}")
    return offset


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
