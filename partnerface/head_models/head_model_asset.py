"""HeadModelAsset: the arrays that define a head model, and the npz file that stores them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault, write_arrays

# The axes of each array by their letters in the docstrings; a digit is a fixed length.
_SHAPES = {
    "template_vertices": "V3",
    "identity_basis": "IV3",
    "expression_basis": "EV3",
    "template_joints": "J3",
    "joint_identity_basis": "IJ3",
    "parents": "J",
    "skinning_weights": "VJ",
    "faces": "F3",
    "uv": "U2",
    "uv_faces": "F3",
    "face_parts": "F",
    "joint_names": "J",
    "expression_names": "E",
    "expression_range": "2",
    "canonical_expression": "E",
    "landmark_faces": "K",
    "landmark_barycentric": "K3",
    "landmark_spread": "K",
    "joint_expression_basis": "EJ3",
    "source_vertex_ids": "V",
}


@dataclass
class HeadModelAsset:
    """A 3DMM in SMPL/FLAME form. Metres; y up, z out of the face, x to the subject's left.

    Attributes:
        name: name of the head model, recorded in every dataset made with it.
        version: version of the asset; it changes whenever a vertex moves.
        template_vertices: ``[V, 3]`` mean identity, neutral expression; the head joint is at the origin.
        identity_basis: ``[I, V, 3]`` offsets of one standard deviation.
        expression_basis: ``[E, V, 3]`` offsets of coefficient 1.
        template_joints: ``[J, 3]`` at rest, mean identity.
        joint_identity_basis: ``[I, J, 3]``.
        parents: ``[J]`` parent of each joint, -1 for the root.
        skinning_weights: ``[V, J]``, rows sum to one.
        faces: ``[Fc, 3]``, counter-clockwise seen from outside.
        uv: ``[U, 2]`` texture coordinates.
        uv_faces: ``[Fc, 3]`` texture coordinates of each face's corners.
        face_parts: ``[Fc]`` index into part_names.
        part_names: surfaces of the mesh: skin, mouth_cavity, eye_left, eye_right, teeth_upper,
            teeth_lower, tongue, lashes.
        joint_names: ``[J]``; joints are found by these names, never by number.
        expression_names: ``[E]``.
        expression_range: ``[2]`` lowest and highest meaningful coefficient.
        canonical_expression: ``[E]`` the expression of canonical space: the mouth slightly open,
            so that the lips and what lies behind them do not share cells of the field.
        landmark_faces: ``[K]`` face under each landmark of the detector (MediaPipe, 468 numbers).
        landmark_barycentric: ``[K, 3]`` place of the landmark in its face.
        landmark_spread: ``[K]`` spread of the place over the views it was detected in, in mm; landmarks
            above 3 are not used.
        pose_correctives: ``[9 (J - 1), V, 3]`` offsets for each entry of the joints' rotation matrices
            minus identity, or None.
        joint_expression_basis: ``[E, J, 3]`` motion of the joints with expression (FLAME), or None.
        source_vertex_ids: ``[V]`` vertex numbers in the mesh the asset was cut from, or None.
        surface: digest of the mean head that its landmark embedding belongs to, where that is another
            (`HeadModel`), or None.
    """

    name: str
    version: str
    template_vertices: np.ndarray
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    template_joints: np.ndarray
    joint_identity_basis: np.ndarray
    parents: np.ndarray
    skinning_weights: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    face_parts: np.ndarray
    part_names: list[str]
    joint_names: list[str]
    expression_names: list[str]
    expression_range: np.ndarray
    canonical_expression: np.ndarray
    landmark_faces: np.ndarray
    landmark_barycentric: np.ndarray
    landmark_spread: np.ndarray
    pose_correctives: np.ndarray | None = None
    joint_expression_basis: np.ndarray | None = None
    source_vertex_ids: np.ndarray | None = None
    surface: str | None = None

    def checksum(self) -> str:
        """Hex digest of vertices, bases, skinning weights and faces, which tell head models apart.

        Two of the same digest may still differ in joints, pose correctives and canonical expression.
        """
        digest = hashlib.sha256()
        for array in (
            self.template_vertices,
            self.identity_basis,
            self.expression_basis,
            self.skinning_weights,
            self.faces,
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the asset as a compressed npz.

        Raises:
            NotWritten: it cannot be written.
        """
        write_arrays(path, {name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path: Path) -> HeadModelAsset:
        """Read an asset written by `save`.

        Raises:
            UserError: the file is missing, unreadable or not such an asset.
        """
        known = {f.name for f in fields(cls)}
        values = read_arrays(path, known)
        required = {f.name for f in fields(cls) if f.default is MISSING}
        if missing := sorted(required - values.keys()):
            raise UserError(f"head model {path}: no {', '.join(missing)}; bake it again with bake-head")
        if fault := _shape_fault(values):
            raise UserError(f"head model {path}: {fault}; bake it again with bake-head")
        for key in {"name", "version", "surface"} & values.keys():
            values[key] = str(values[key])
        # It becomes part of a file's name.
        if not re.fullmatch(r"[0-9a-f]{16}|", values.get("surface", "")):
            raise UserError(f"head model {path}: surface is no digest; bake it again with bake-head")
        for key in ("part_names", "joint_names", "expression_names"):
            values[key] = [str(item) for item in values[key]]
        return cls(**values)


def _shape_fault(values: dict[str, np.ndarray]) -> str | None:
    """The first array whose shape or indices contradict the others, in words."""
    sizes: dict[str, int] = {}
    if fault := shape_fault(values, _SHAPES, sizes):
        return fault
    indexed = {"faces": "V", "uv_faces": "U", "landmark_faces": "F"}
    for key, axis in indexed.items():
        indices = values[key]
        if indices.dtype.kind not in "iu" or (
            indices.size and not 0 <= indices.min() <= indices.max() < sizes[axis]
        ):
            return f"{key} points outside its array"
    return None
