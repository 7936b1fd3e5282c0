"""The landmark embedding in vertex numbers of the MakeHuman base mesh, so that it survives a new bake."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, write_arrays
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
