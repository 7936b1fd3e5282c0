"""What searches for the closest surface point have in common: points carried by that point's transform."""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3
from partnerface.meshes.normals import blend_corners


@wp.func
@no_type_check
def undo_transform(
    transforms: wp.array(dtype=wp.float32, ndim=4),
    displacements: wp.array(dtype=wp.vec3, ndim=2),
    frame: int,
    corner: wp.vec3i,
    weight: wp.vec3,
    p: wp.vec3,
) -> wp.vec3:
    """World point ``p`` in canonical space, by the blended transform and displacement of a surface point."""
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
def reach_of(thickness: wp.array(dtype=wp.float32), corner: wp.vec3i, weight: wp.vec3) -> float:
    """Thickness of the shell at a surface point."""
    return wp.dot(weight, wp.vec3(thickness[corner[0]], thickness[corner[1]], thickness[corner[2]]))


def places_of(points: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Tensors for the fields of `CanonicalPoints` of points ``[N, 3]``."""
    count = len(points)
    valid, face = points.new_empty(count, dtype=torch.bool), points.new_empty(count, dtype=torch.int32)
    return points.new_empty(count, 3), valid, points.new_empty(count), face, points.new_empty(count, 3)


def as_array(field: Tensor) -> Tensor | wp.array:
    """One of these tensors as a kernel takes it."""
    return as_vec3(field) if field.ndim == 2 else field
