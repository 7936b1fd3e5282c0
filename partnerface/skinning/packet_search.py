"""Inverse skinning by a search for packets of neighbouring points: on a CPU."""

from __future__ import annotations

from typing import no_type_check

import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, as_vec3i, launch, operator
from partnerface.meshes.face_tree import closest_faces
from partnerface.meshes.point_packets import LANES, closest_barycentric
from partnerface.skinning.surface_transforms import as_array, places_of, reach_of, undo_transform

RUN = 16
"""Consecutive points that one thread takes: the samples of a ray."""

PACKET_SIZE = 0.03
"""Metres: points farther apart than this are not searched for together, as their closest faces differ."""


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
                canonical[i] = undo_transform(transforms, displacements, frame, corner, weight, p)
                valid[i] = gap <= reach_of(thickness, corner, weight)
                distance[i] = gap
                face[i] = numbers[found[lane]]
                barycentric[i] = weight
        first += count


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
    found = places_of(points)
    tree = as_vec3(boxes), as_vec3(vertices), leaves, as_vec3i(sorted_faces), numbers
    surface = transforms, as_vec3(displacements), thickness
    inputs = [*tree, *surface, as_vec3(points), frame, search_radius, *map(as_array, found)]
    launch(_inverse_skinning_in_packets, -(-len(points) // RUN), inputs, points.device)
    return found


inverse_skinning_in_packets.register_fake(places_of)
