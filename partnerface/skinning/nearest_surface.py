"""Inverse skinning by the exact closest point on the posed surface, fused with it in one Warp kernel.

A point takes the transform of the closest surface point: the barycentric blend of its vertices'
linear blend skinning transforms, inverted, minus their blended displacement. It carries pose,
expression and identity alike. Nearest vertices instead of nearest surface would be up to 5.6 mm off.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.head_models.head_model import PosedHead
from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.meshes.bvh import BvhCache, PosedBvhs
from partnerface.meshes.face_tree import FaceTree, PosedTree
from partnerface.skinning.hierarchy_search import inverse_skinning
from partnerface.skinning.inverse_skinning import CanonicalPoints, InverseSkinning
from partnerface.skinning.packet_search import inverse_skinning_in_packets


@dataclass
class SkinningSurface:
    """F posed frames, ready for queries from any thread.

    Attributes:
        hierarchies: over the posed vertices: on a CPU a tree that is searched for several points at once.
        transforms: ``[F, V, 3, 4]`` rest to world, with the head's gradient.
        displacements: ``[F, V, 3]`` from canonical, with the head's gradient.
    """

    hierarchies: PosedBvhs | PosedTree
    transforms: Tensor
    displacements: Tensor


class NearestSurface(InverseSkinning):
    """Inverse skinning with the blended transform of the exact closest surface point.

    Args:
        margin: metres added to the shell when searching, so that a point just outside it still gets
            its distance.
    """

    def __init__(self, margin: Between[float, 0, 1] = 0.002) -> None:
        super().__init__()
        self.margin = margin
        self._search_radius = margin
        self._hierarchies = BvhCache()
        self._tree: FaceTree | None = None

    def set_surface(self, faces: Tensor, thickness: Tensor) -> None:
        super().set_surface(faces, thickness)
        self._search_radius = float(thickness.max()) + self.margin
        self._hierarchies.clear()
        self._tree = None

    def posed_surface(self, head: PosedHead) -> SkinningSurface:
        return SkinningSurface(
            self._posed_hierarchies(head.vertices.detach(), head.canonical_vertices.detach()),
            head.vertex_transforms.contiguous(),
            head.displacements.contiguous(),
        )

    def _posed_hierarchies(self, vertices: Tensor, canonical: Tensor) -> PosedBvhs | PosedTree:
        if vertices.device.type != "cpu":
            return self._hierarchies.posed(vertices, canonical, self.faces)
        # A thread that finds none makes the same one.
        self._tree = self._tree or FaceTree(canonical, self.faces)
        return self._tree.posed(vertices)

    def forward(self, points: Tensor, frame: Tensor, surface: SkinningSurface) -> CanonicalPoints:
        place = surface.transforms.detach(), surface.displacements.detach()
        searched = points.detach().contiguous(), frame, *surface.hierarchies.arrays
        skin = inverse_skinning if isinstance(surface.hierarchies, PosedBvhs) else inverse_skinning_in_packets
        return CanonicalPoints(*skin(*searched, *place, self.thickness, self._search_radius))

    def with_gradient(
        self, canonical: CanonicalPoints, points: Tensor, frame: Tensor, surface: SkinningSurface
    ) -> Tensor:
        """Canonical points ``[N, 3]`` whose gradient reaches the head parameters; the value is the same.

        A change of the parameters that moves the skinned image of a canonical point by ``d`` moves the
        canonical point under a fixed world point ``[N, 3]`` by ``-inverse(T) d``, to first order.
        """
        if not (surface.transforms.requires_grad or surface.displacements.requires_grad):
            return canonical.points
        vertices = surface.transforms.shape[1]
        corners = (frame[:, None] * vertices + self.faces[canonical.faces.long()]).flatten()
        # A point beyond the search has no weights: any do, as long as its transform can be inverted.
        weights = torch.where(canonical.faces[:, None] < 0, 1 / 3, canonical.barycentric)[..., None]

        def blended(values: Tensor) -> Tensor:
            # The gradient of indexing adds up in an order that changes from run to run if torch has threads.
            return (values.index_select(0, corners).view(len(points), 3, values.shape[1]) * weights).sum(1)

        transform = blended(surface.transforms.view(-1, 12)).view(-1, 3, 4)
        displacement = blended(surface.displacements.view(-1, 3))
        image = transform_points(transform, canonical.points + displacement)
        # Without a look at the result, for which the host would wait for a GPU.
        correction, _ = torch.linalg.solve_ex(transform[..., :3].detach(), points - image)
        return canonical.points + correction - correction.detach()
