"""RefinedSurface: a triangle mesh with its faces divided, for motion that is finer than its vertices."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.meshes.rasterizer import MeshFragments

CHILDREN = torch.tensor(
    [
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]],
        [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]],
        [[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]],
        [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]],
    ]
)
"""``[4, 3, 3]`` barycentric coordinates of the corners of a face's four children."""


class RefinedSurface:
    """Midpoint subdivision of faces ``[F, 3]``, ``levels`` times; a face has 4^levels children in a row.

    The first vertices are those of the coarse mesh.

    Attributes:
        faces: ``[F * 4^levels, 3]``.
        children: ``[4^levels, 3, 3]`` barycentric coordinates of the children's corners in their coarse face.
    """

    def __init__(self, faces: Tensor, num_vertices: int, levels: int) -> None:
        self.children = torch.eye(3)[None]
        self._edges: list[Tensor] = []
        for _ in range(levels):
            sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
            edges, edge = sides.unique(dim=0, return_inverse=True)
            a, b, c = faces.unbind(1)
            ab, bc, ca = (edge + num_vertices).view(3, -1)
            corners = [a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca]
            faces = torch.stack(corners, 1).view(-1, 3)
            num_vertices += len(edges)
            self._edges.append(edges)
            self.children = torch.einsum("ikc,jlk->ijlc", self.children, CHILDREN).flatten(0, 1)
        self.faces = faces

    def of(self, values: Tensor) -> Tensor:
        """Values ``[V, ...]`` of the coarse vertices, interpolated to all vertices."""
        for edges in self._edges:
            values = torch.cat([values, values[edges].mean(1)])
        return values

    def coarse(self, fragments: MeshFragments) -> MeshFragments:
        """What was rasterized of the fine mesh, as places on the coarse one's faces; the depth is kept."""
        count = len(self.children)
        seen = fragments.mask
        faces, barycentric = fragments.faces.clone(), fragments.barycentric.clone()
        fine = fragments.faces[seen]
        barycentric[seen] = (self.children[fine % count] * fragments.barycentric[seen][..., None]).sum(1)
        faces[seen] = torch.div(fine, count, rounding_mode="floor")
        return MeshFragments(faces, barycentric, fragments.depth)
