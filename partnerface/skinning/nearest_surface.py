"""Inverse skinning by the exact closest point on the posed surface, fused in one Warp kernel.

A point takes the transform of the closest surface point: the barycentric blend of its vertices'
linear blend skinning transforms, inverted, minus their blended displacement. It carries pose,
expression and identity alike. Nearest vertices instead of nearest surface would be up to 5.6 mm off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.compute.warp_launch import as_ids, as_vec3, as_vec3i, launch, operator
from partnerface.head_models.head_model import PosedHead
from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.meshes.bvh import BvhCache, PosedBvhs
from partnerface.meshes.face_tree import FaceTree, PosedTree, closest_faces
from partnerface.meshes.normals import blend_corners
from partnerface.meshes.point_packets import LANES, closest_barycentric
from partnerface.skinning.inverse_skinning import CanonicalPoints, InverseSkinning

RUN = 16
"""Consecutive points that one thread takes: the samples of a ray."""

PACKET_SIZE = 0.03
"""Metres: points farther apart than this are not searched for together, as their closest faces differ."""


@wp.func
@no_type_check
def _undo_transform(
    transforms: wp.array(dtype=wp.float32, ndim=4),
    displacements: wp.array(dtype=wp.vec3, ndim=2),
    frame: int,
    corner: wp.vec3i,
    weight: wp.vec3,
    p: wp.vec3,
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
    return wp.inverse(linear) * (p - offset) - blend_corners(displacements, frame, corner, weight)


@wp.func
@no_type_check
def _reach(thickness: wp.array(dtype=wp.float32), corner: wp.vec3i, weight: wp.vec3) -> float:
    """Thickness of the shell at a surface point."""
    return wp.dot(weight, wp.vec3(thickness[corner[0]], thickness[corner[1]], thickness[corner[2]]))


@wp.kernel(enable_backward=False)
@no_type_check
def _inverse_skinning(
    meshes: wp.array(dtype=wp.uint64),
    faces: wp.array(dtype=wp.vec3i),
    transforms: wp.array(dtype=wp.float32, ndim=4),
    displacements: wp.array(dtype=wp.vec3, ndim=2),
    thickness: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3),
    frames: wp.array(dtype=wp.int32),
    search_radius: float,
    canonical: wp.array(dtype=wp.vec3),
    valid: wp.array(dtype=wp.bool),
    distance: wp.array(dtype=wp.float32),
    face: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    p = points[i]
    frame = frames[i]
    query = wp.mesh_query_point_no_sign(meshes[frame], p, search_radius)
    found = int(-1)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
    gap = float(wp.inf)
    place = wp.vec3()
    weight = wp.vec3()
    valid[i] = False
    if query.result:
        found = query.face
        corner = faces[found]
        weight = wp.vec3(query.u, query.v, 1.0 - query.u - query.v)
        gap = wp.length(wp.mesh_eval_position(meshes[frame], found, query.u, query.v) - p)
        place = _undo_transform(transforms, displacements, frame, corner, weight, p)
        valid[i] = gap <= _reach(thickness, corner, weight)
    canonical[i] = place
    distance[i] = gap
    face[i] = found
    barycentric[i] = weight


@wp.kernel(enable_backward=False)
@no_type_check
def _inverse_skinning_in_packets(
    boxes: wp.array3d(dtype=wp.vec3),
    vertices: wp.array2d(dtype=wp.vec3),
    leaves: wp.array(dtype=wp.int32),
    sorted_faces: wp.array(dtype=wp.vec3i),
    numbers: wp.array(dtype=wp.int32),
    transforms: wp.array(dtype=wp.float32, ndim=4),
    displacements: wp.array(dtype=wp.vec3, ndim=2),
    thickness: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3),
    frames: wp.array(dtype=wp.int32),
    search_radius: float,
    canonical: wp.array(dtype=wp.vec3),
    valid: wp.array(dtype=wp.bool),
    distance: wp.array(dtype=wp.float32),
    face: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    first = wp.tid() * RUN
    end = wp.min(first + RUN, points.shape[0])
    while first < end:
        frame = frames[first]
        count = int(1)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
        while (
            count < LANES
            and first + count < end
            and frames[first + count] == frame
            and wp.length_sq(points[first + count] - points[first]) < PACKET_SIZE * PACKET_SIZE
        ):
            count += 1
        found = closest_faces(
            boxes, vertices, leaves, sorted_faces, frame, points, first, count, search_radius
        )
        for lane in range(count):
            i = first + lane
            p = points[i]
            if found[lane] < 0:
                canonical[i] = wp.vec3()
                valid[i] = False
                distance[i] = wp.inf
                face[i] = -1
                barycentric[i] = wp.vec3()
            else:
                corner = sorted_faces[found[lane]]
                a = vertices[frame, corner[0]]
                b = vertices[frame, corner[1]]
                c = vertices[frame, corner[2]]
                weight = closest_barycentric(a, b, c, p)
                gap = wp.length(weight[0] * a + weight[1] * b + weight[2] * c - p)
                canonical[i] = _undo_transform(transforms, displacements, frame, corner, weight, p)
                valid[i] = gap <= _reach(thickness, corner, weight)
                distance[i] = gap
                face[i] = numbers[found[lane]]
                barycentric[i] = weight
        first += count


@operator("inverse_skinning")
def inverse_skinning(
    points: Tensor,
    frame: Tensor,
    meshes: Tensor,
    faces: Tensor,
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
        faces: ``[Fc, 3]`` int32 their faces.
        transforms: ``[F, V, 3, 4]`` rest to world.
        displacements: ``[F, V, 3]`` from canonical.
        thickness: ``[V]`` of the shell in metres.
        search_radius: metres.

    Returns:
        The fields of `CanonicalPoints`, in order.
    """
    found = _places_of(points)
    surface = as_ids(meshes), as_vec3i(faces), transforms, as_vec3(displacements), thickness
    inputs = [*surface, as_vec3(points), frame, search_radius, *map(_as_array, found)]
    launch(_inverse_skinning, len(points), inputs, points.device)
    return found


@operator("inverse_skinning_in_packets")
def inverse_skinning_in_packets(
    points: Tensor,
    frame: Tensor,
    vertices: Tensor,
    boxes: Tensor,
    leaves: Tensor,
    sorted_faces: Tensor,
    numbers: Tensor,
    transforms: Tensor,
    displacements: Tensor,
    thickness: Tensor,
    search_radius: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`inverse_skinning` on a CPU, with the tensors of a `PosedTree` in the place of hierarchies.

    Neighbours in the list are searched for together, if they are neighbours in space as well.
    """
    found = _places_of(points)
    tree = as_vec3(boxes), as_vec3(vertices), leaves, as_vec3i(sorted_faces), numbers
    surface = transforms, as_vec3(displacements), thickness
    inputs = [*tree, *surface, as_vec3(points), frame, search_radius, *map(_as_array, found)]
    launch(_inverse_skinning_in_packets, -(-len(points) // RUN), inputs, points.device)
    return found


def _places_of(points: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Tensors for the fields of `CanonicalPoints` of points ``[N, 3]``."""
    count = len(points)
    valid, face = points.new_empty(count, dtype=torch.bool), points.new_empty(count, dtype=torch.int32)
    return points.new_empty(count, 3), valid, points.new_empty(count), face, points.new_empty(count, 3)


def _as_array(field: Tensor) -> Tensor | wp.array:
    return as_vec3(field) if field.ndim == 2 else field


inverse_skinning.register_fake(_places_of)
inverse_skinning_in_packets.register_fake(_places_of)


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
