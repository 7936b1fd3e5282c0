"""Inverse skinning by the frame of the nearest triangle (INSTA, Zielonka et al. 2023, section 3.2).

A point keeps its place in the frame of the closest posed triangle when that triangle returns to canonical
space. From one triangle to the next the map jumps; INSTA's C++ blends three neighbours in, its PyTorch
port does not, and nor does this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.head_models.head_model import PosedHead
from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.skinning.inverse_skinning import CanonicalPoints, InverseSkinning
from partnerface.skinning.nearest_surface import NearestSurface, SkinningSurface

LARGEST_SCALE = 2.0
"""Largest scale of a triangle's frame: a collapsed one would map points far outside canonical space."""


@dataclass
class TriangleSurface:
    """F posed frames, ready for queries.

    Attributes:
        surface: for the search of the closest triangle.
        to_canonical: ``[F, Fc, 3, 4]`` similarity of each face, posed to canonical, with the head's gradient.
    """

    surface: SkinningSurface
    to_canonical: Tensor


class NearestTriangle(InverseSkinning):
    """Carries a point with its closest triangle; the shell is that of `NearestSurface`.

    Args:
        margin: metres added to the shell when searching.
    """

    def __init__(self, margin: Between[float, 0, 1] = 0.002) -> None:
        super().__init__()
        self.search = NearestSurface(margin)

    def set_surface(self, faces: Tensor, thickness: Tensor) -> None:
        super().set_surface(faces, thickness)
        self.search.set_surface(faces, thickness)

    def posed_surface(self, head: PosedHead) -> TriangleSurface:
        posed = head.vertices.index_select(1, self.faces.flatten()).view(len(head.vertices), -1, 3, 3)
        canonical = head.canonical_vertices[self.faces].expand_as(posed)
        to_canonical = triangle_similarities(posed.flatten(0, 1), canonical.flatten(0, 1))
        to_canonical = to_canonical.view(len(posed), -1, 3, 4)
        return TriangleSurface(self.search.posed_surface(head), to_canonical)

    def forward(self, points: Tensor, frame: Tensor, surface: TriangleSurface) -> CanonicalPoints:
        found = self.search(points, frame, surface.surface)
        carried = _carried(found, points, frame, surface).detach()
        return replace(found, points=torch.where(found.faces[:, None] >= 0, carried, 0.0))

    def with_gradient(
        self, canonical: CanonicalPoints, points: Tensor, frame: Tensor, surface: TriangleSurface
    ) -> Tensor:
        if not surface.to_canonical.requires_grad:
            return canonical.points
        return _carried(canonical, points, frame, surface)


def _carried(canonical: CanonicalPoints, points: Tensor, frame: Tensor, surface: TriangleSurface) -> Tensor:
    """World points ``[N, 3]`` in canonical space by the similarity of their closest triangle."""
    faces = surface.to_canonical.shape[1]
    number = frame * faces + canonical.faces.clamp_min(0)
    similarity = surface.to_canonical.view(-1, 12).index_select(0, number)
    return transform_points(similarity.view(-1, 3, 4), points)


def triangle_similarities(source: Tensor, target: Tensor) -> Tensor:
    """Similarities ``[N, 3, 4]`` that carry triangles ``[N, 3, 3]`` to their targets.

    Centroid goes to centroid, normal to normal, the direction of the first edge to that of the first edge;
    lengths scale with the square root of the area, at most by `LARGEST_SCALE`.
    """
    frames, areas = zip(*(_frame_and_area(triangles) for triangles in (source, target)), strict=True)
    # Limited before the root, whose gradient at a collapsed target is no number.
    scale = (areas[1] / areas[0].clamp_min(1e-12)).clamp(LARGEST_SCALE**-2, LARGEST_SCALE**2).sqrt()
    linear = scale[:, None, None] * frames[1] @ frames[0].transpose(1, 2)
    offset = target.mean(1) - (linear @ source.mean(1)[..., None])[..., 0]
    return torch.cat([linear, offset[..., None]], 2)


def _frame_and_area(triangles: Tensor) -> tuple[Tensor, Tensor]:
    """Tangent, bitangent and normal ``[N, 3, 3]`` as columns, and twice the area ``[N]``."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = torch.linalg.cross(first, second)
    area = normal.norm(dim=1)
    tangent, normal = functional.normalize(first, dim=1), functional.normalize(normal, dim=1)
    return torch.stack([tangent, torch.linalg.cross(normal, tangent), normal], 2), area
