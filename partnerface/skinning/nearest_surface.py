"""Inverse skinning by the exact closest point on the posed surface, fused in one Warp kernel.

A point takes the transform of the closest surface point: the barycentric blend of its vertices'
linear blend skinning transforms, inverted, minus their blended displacement. It carries pose,
expression and identity alike. Nearest vertices instead of nearest surface would be up to 5.6 mm off.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor, nn

from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.head_models.mesh_bvh import MeshBvh, PosedBvhs
from partnerface.head_models.posed_head import PosedHead
from partnerface.skinning.inverse_skinning import CanonicalPoints
from partnerface.warp_launch import as_vec3, launch


@wp.kernel(enable_backward=False)
def _inverse_skinning(
    mesh: wp.uint64,
    faces: wp.array(dtype=wp.int32),
    transforms: wp.array(dtype=wp.float32, ndim=3),
    displacements: wp.array(dtype=wp.vec3),
    thickness: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3),
    search_radius: float,
    canonical: wp.array(dtype=wp.vec3),
    valid: wp.array(dtype=wp.uint8),
    distance: wp.array(dtype=wp.float32),
    face: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    p = points[i]
    query = wp.mesh_query_point_no_sign(mesh, p, search_radius)
    face[i] = -1
    valid[i] = wp.uint8(0)
    distance[i] = wp.inf
    if query.result:
        corner0 = faces[3 * query.face]
        corner1 = faces[3 * query.face + 1]
        corner2 = faces[3 * query.face + 2]
        u = query.u
        v = query.v
        w = 1.0 - u - v
        linear = wp.mat33()
        offset = wp.vec3()
        for row in range(3):
            for column in range(3):
                linear[row, column] = (
                    u * transforms[corner0, row, column]
                    + v * transforms[corner1, row, column]
                    + w * transforms[corner2, row, column]
                )
            offset[row] = (
                u * transforms[corner0, row, 3]
                + v * transforms[corner1, row, 3]
                + w * transforms[corner2, row, 3]
            )
        displacement = u * displacements[corner0] + v * displacements[corner1] + w * displacements[corner2]
        canonical[i] = wp.inverse(linear) * (p - offset) - displacement
        reach = u * thickness[corner0] + v * thickness[corner1] + w * thickness[corner2]
        gap = wp.length(wp.mesh_eval_position(mesh, query.face, u, v) - p)
        distance[i] = gap
        face[i] = query.face
        barycentric[i] = wp.vec3(u, v, w)
        if gap <= reach:
            valid[i] = wp.uint8(1)


@dataclass
class PosedSurface:
    """One posed frame, ready for queries from any thread.

    Attributes:
        hierarchy: over the posed vertices.
        transforms: ``[V, 3, 4]`` rest to world, with the head's gradient.
        displacements: ``[V, 3]`` from canonical, with the head's gradient.
    """

    hierarchy: MeshBvh
    transforms: Tensor
    displacements: Tensor


class NearestSurface(nn.Module):
    """Inverse skinning for the head's surface: skin above the torso, eyes, mouth cavity, teeth, tongue.

    Args:
        margin: metres added to the shell when searching, so that a point just outside it still gets
            its distance.
    """

    def __init__(self, margin: float = 0.002) -> None:
        super().__init__()
        self.margin = margin
        self._hierarchies = PosedBvhs()
        self.register_buffer("faces", torch.zeros(0, 3, dtype=torch.long), persistent=False)
        self.register_buffer("thickness", torch.zeros(0), persistent=False)

    def set_surface(self, faces: Tensor, thickness: Tensor) -> None:
        """Use these faces ``[Fc, 3]`` of the head model and the shell thickness ``[V]`` in metres."""
        self.faces, self.thickness = faces, thickness.float().contiguous()
        self._hierarchies.clear()

    def posed_surface(self, head: PosedHead, frame: int) -> PosedSurface:
        """Prepare one frame; valid until the same thread prepares that frame number again."""
        return PosedSurface(
            self._hierarchies.posed(head.vertices[frame].detach(), self.faces, frame),
            head.vertex_transforms[frame].contiguous(),
            head.displacements[frame].contiguous(),
        )

    def forward(self, points: Tensor, surface: PosedSurface) -> CanonicalPoints:
        """Carry world points ``[N, 3]`` to canonical space, without gradient (see `follow_parameters`)."""
        count, device = len(points), points.device
        result = CanonicalPoints(
            points=torch.zeros(count, 3, device=device),
            valid=torch.empty(count, dtype=torch.uint8, device=device),
            distance=torch.empty(count, device=device),
            faces=torch.empty(count, dtype=torch.int32, device=device),
            barycentric=torch.zeros(count, 3, device=device),
        )
        inputs = [
            surface.hierarchy.id,
            surface.hierarchy.corners,
            surface.transforms,
            as_vec3(surface.displacements),
            self.thickness,
            as_vec3(points.contiguous()),
            float(self.thickness.max()) + self.margin,
            as_vec3(result.points),
            result.valid,
            result.distance,
            result.faces,
            as_vec3(result.barycentric),
        ]
        launch(_inverse_skinning, count, inputs, device)
        result.valid = result.valid.bool()
        return result

    def follow_parameters(self, canonical: CanonicalPoints, points: Tensor, surface: PosedSurface) -> Tensor:
        """Canonical points ``[N, 3]`` whose gradient reaches the head parameters; the value is the same.

        A change of the parameters that moves the skinned image of a canonical point by ``d`` moves the
        canonical point under a fixed world point ``[N, 3]`` by ``-inverse(T) d``, to first order.
        """
        corners = self.faces[canonical.faces.long()]
        weights = canonical.barycentric[..., None]
        transform = (surface.transforms.flatten(1)[corners] * weights).sum(1).view(-1, 3, 4)
        displacement = (surface.displacements[corners] * weights).sum(1)
        image = transform_points(transform, canonical.points + displacement)
        correction = torch.linalg.solve(transform[..., :3].detach(), points - image)
        return canonical.points + correction - correction.detach()
