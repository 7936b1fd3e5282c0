"""Inverse skinning by a search of hierarchies for one point at a time: on a GPU, whose threads are many."""

from __future__ import annotations

from typing import no_type_check

import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_ids, as_vec3, as_vec3i, launch, operator
from partnerface.skinning.surface_transforms import as_array, places_of, reach_of, undo_transform


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
        place = undo_transform(transforms, displacements, frame, corner, weight, p)
        valid[i] = gap <= reach_of(thickness, corner, weight)
    canonical[i] = place
    distance[i] = gap
    face[i] = found
    barycentric[i] = weight


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
    found = places_of(points)
    surface = as_ids(meshes), as_vec3i(faces), transforms, as_vec3(displacements), thickness
    inputs = [*surface, as_vec3(points), frame, search_radius, *map(as_array, found)]
    launch(_inverse_skinning, len(points), inputs, points.device)
    return found


inverse_skinning.register_fake(places_of)
