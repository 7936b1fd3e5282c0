"""Inverse skinning by the exact closest point on the posed surface, fused in one Warp kernel.

A point takes the transform of the closest surface point: the barycentric blend of its vertices'
linear blend skinning transforms, inverted, minus their blended displacement. It carries pose,
expression and identity alike. Nearest vertices instead of nearest surface would be up to 5.6 mm off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.compute.warp_launch import as_ids, as_vec3, launch, operator, run_length
from partnerface.head_models.head_model import PosedHead
from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.meshes.bvh import BvhCache, PosedBvhs
from partnerface.meshes.normals import blend_corners
from partnerface.skinning.inverse_skinning import CanonicalPoints, InverseSkinning


@wp.func
@no_type_check
def _undo_transform(
    transforms: wp.array(dtype=wp.float32, ndim=4), frame: int, corner: wp.vec3i, weight: wp.vec3, p: wp.vec3
) -> wp.vec3:
    linear = wp.mat33()
    offset = wp.vec3()
    for row in range(3):
        for column in range(3):
            linear[row, column] = (
                weight[0] * transforms[frame, corner[0], row, column]
                + weight[1] * transforms[frame, corner[1], row, column]
                + weight[2] * transforms[frame, corner[2], row, column]
            )
        offset[row] = (
            weight[0] * transforms[frame, corner[0], row, 3]
            + weight[1] * transforms[frame, corner[1], row, 3]
            + weight[2] * transforms[frame, corner[2], row, 3]
        )
    return wp.inverse(linear) * (p - offset)


@wp.kernel(enable_backward=False)
@no_type_check
def _inverse_skinning(
    meshes: wp.array(dtype=wp.uint64),
    faces: wp.array(dtype=wp.int32),
    transforms: wp.array(dtype=wp.float32, ndim=4),
    displacements: wp.array(dtype=wp.vec3, ndim=2),
    thickness: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3),
    frames: wp.array(dtype=wp.int32),
    search_radius: float,
    run: int,
    canonical: wp.array(dtype=wp.vec3),
    valid: wp.array(dtype=wp.bool),
    distance: wp.array(dtype=wp.float32),
    face: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    thread = wp.tid()
    found = int(-1)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
    frame_before = int(-1)  # noqa: UP018, RUF046
    closest = wp.vec3()
    for i in range(thread * run, wp.min((thread + 1) * run, points.shape[0])):
        p = points[i]
        frame = frames[i]
        mesh = meshes[frame]
        radius = float(search_radius)
        if found >= 0 and frame == frame_before:
            # The surface is no farther than the point of it that was closest to the sample before. The margin
            # is that of rounding: a sample that lay on the surface was not found again within 1e-7.
            radius = wp.min(radius, 1.0001 * wp.length(closest - p) + 1.0e-5)
        query = wp.mesh_query_point_no_sign(mesh, p, radius)
        frame_before = frame
        found = -1
        valid[i] = False
        distance[i] = wp.inf
        canonical[i] = wp.vec3()
        barycentric[i] = wp.vec3()
        if query.result:
            found = query.face
            corner = wp.vec3i(faces[3 * found], faces[3 * found + 1], faces[3 * found + 2])
            weight = wp.vec3(query.u, query.v, 1.0 - query.u - query.v)
            closest = wp.mesh_eval_position(mesh, found, query.u, query.v)
            gap = wp.length(closest - p)
            reach = wp.dot(weight, wp.vec3(thickness[corner[0]], thickness[corner[1]], thickness[corner[2]]))
            canonical[i] = _undo_transform(transforms, frame, corner, weight, p) - blend_corners(
                displacements, frame, corner, weight
            )
            barycentric[i] = weight
            distance[i] = gap
            valid[i] = gap <= reach
        face[i] = found


@operator("inverse_skinning")
def inverse_skinning(
    points: Tensor,
    frame: Tensor,
    meshes: Tensor,
    corners: Tensor,
    transforms: Tensor,
    displacements: Tensor,
    thickness: Tensor,
    search_radius: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """World points carried by the transform of the closest surface point.

    Args:
        points: ``[N, 3]`` metres.
        frame: ``[N]`` int32.
        meshes: ``[F]`` int64 ids of the posed hierarchies.
        corners: ``[Fc * 3]`` int32 their faces.
        transforms: ``[F, V, 3, 4]`` rest to world.
        displacements: ``[F, V, 3]`` from canonical.
        thickness: ``[V]`` of the shell in metres.
        search_radius: metres.

    Returns:
        The fields of `CanonicalPoints`, in order.
    """
    count, device = len(points), points.device
    canonical, barycentric = points.new_empty(count, 3), points.new_empty(count, 3)
    valid = torch.empty(count, dtype=torch.bool, device=device)
    distance = points.new_empty(count)
    face = torch.empty(count, dtype=torch.int32, device=device)
    # Within a run each point bounds the search of the next.
    run = run_length(device)
    surface = as_ids(meshes), corners, transforms, as_vec3(displacements), thickness
    found = as_vec3(canonical), valid, distance, face, as_vec3(barycentric)
    inputs = [*surface, as_vec3(points), frame, search_radius, run, *found]
    launch(_inverse_skinning, -(-count // run), inputs, device)
    return canonical, valid, distance, face, barycentric


@inverse_skinning.register_fake
def _(points: Tensor, frame: Tensor, *surface: Tensor | float) -> tuple[Tensor, ...]:
    count = len(points)
    flags, faces = points.new_empty(count, dtype=torch.bool), points.new_empty(count, dtype=torch.int32)
    return points.new_empty(count, 3), flags, points.new_empty(count), faces, points.new_empty(count, 3)


@dataclass
class SkinningSurface:
    """F posed frames, ready for queries from any thread.

    Attributes:
        hierarchies: over the posed vertices.
        transforms: ``[F, V, 3, 4]`` rest to world, with the head's gradient.
        displacements: ``[F, V, 3]`` from canonical, with the head's gradient.
    """

    hierarchies: PosedBvhs
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

    def set_surface(self, faces: Tensor, thickness: Tensor) -> None:
        super().set_surface(faces, thickness)
        self._search_radius = float(thickness.max()) + self.margin
        self._hierarchies.clear()

    def posed_surface(self, head: PosedHead) -> SkinningSurface:
        return SkinningSurface(
            self._hierarchies.posed(head.vertices.detach(), head.canonical_vertices, self.faces),
            head.vertex_transforms.contiguous(),
            head.displacements.contiguous(),
        )

    def forward(self, points: Tensor, frame: Tensor, surface: SkinningSurface) -> CanonicalPoints:
        hierarchies = surface.hierarchies
        posed = surface.transforms.detach(), surface.displacements.detach()
        place = hierarchies.ids, hierarchies.corners, *posed, self.thickness, self._search_radius
        return CanonicalPoints(*inverse_skinning(points.detach().contiguous(), frame, *place))

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
