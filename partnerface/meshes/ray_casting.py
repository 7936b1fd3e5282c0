"""Casting rays against a mesh with Warp."""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, launch
from partnerface.meshes.bvh import MeshBvh


@wp.kernel(enable_backward=False)
@no_type_check
def _cast(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=wp.float32),
):
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[i], directions[i], 1.0e6)
    depth[i] = wp.where(hit.result, hit.t, -1.0)


def cast_rays(vertices: Tensor, faces: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    """Distance ``[R]`` in metres to the first face that each ray meets, from either side; -1 for none.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[Fc, 3]``.
        origins: ``[R, 3]``.
        directions: ``[R, 3]`` unit vectors.
    """
    depth = torch.full((len(origins),), -1.0, device=origins.device)
    if not len(faces) or not len(origins):
        return depth
    mesh = MeshBvh(vertices, faces)
    inputs = [mesh.id, as_vec3(origins.contiguous()), as_vec3(directions.contiguous()), depth]
    launch(_cast, len(origins), inputs, origins.device)
    return depth
