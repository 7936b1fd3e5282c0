"""Rotation matrices, quaternions and rotation vectors in a few operations of torch each.

pytorch3d's functions of the same purpose make a constant on the host and select by a mask: on a GPU the host
would wait for the device three times in every step; and each takes dozens of small operations.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_QUATERNION_ROWS = """
    +0+4+8  +7-5    +2-6    +3-1
    +7-5    +0-4-8  +3+1    +2+6
    +2-6    +3+1    -0+4-8  +7+5
    +3-1    +2+6    +7+5    -0-4+8
"""
"""Entries of 4 q q^T for the unit quaternion q of a rotation m, as sums of m's entries in row order; one more
on the diagonal."""


@cache
@torch.inference_mode(False)
def _quaternion_map(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The linear map ``[16, 9]`` of `_QUATERNION_ROWS` and ``[16]`` what is added to it; the map ``[9, 16]``
    from q q^T back to a rotation and ``[9]`` what is added; ``[4]`` the quaternion of the identity.

    Made once a device, for training too if that is first needed in an evaluation.
    """
    linear = torch.zeros(16, 9, dtype=torch.float64)
    for row, terms in enumerate(_QUATERNION_ROWS.split()):
        for sign, entry in zip(terms[::2], terms[1::2], strict=True):
            linear[row, int(entry)] = 1.0 if sign == "+" else -1.0
    ones, inverse = torch.eye(4, dtype=torch.float64), torch.linalg.pinv(linear)
    found = linear, ones.flatten(), 4 * inverse, -inverse @ ones.flatten(), ones[0]
    return tuple(tensor.to(device, dtype) for tensor in found)


def matrix_quaternions(rotation: Tensor) -> Tensor:
    """Unit quaternions ``[..., 4]``, real part first and not negative, of rotations ``[..., 3, 3]``.

    Of the four ways to find one, that with the largest divisor (Shepperd 1978). Differentiable.
    """
    linear, ones, *_ = _quaternion_map(rotation.device, rotation.dtype)
    rows = functional.linear(rotation.flatten(-2), linear, ones).unflatten(-1, (4, 4))
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    row = rows.gather(-2, best.expand(*best.shape[:-1], 4)).squeeze(-2)
    length = torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return row / torch.copysign(length, row[..., :1].detach())


def quaternion_matrices(quaternion: Tensor) -> Tensor:
    """Rotations ``[..., 3, 3]`` of quaternions ``[..., 4]`` of any length but zero, real part first."""
    _, _, inverse, constant, _ = _quaternion_map(quaternion.device, quaternion.dtype)
    unit = quaternion / torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)
    products = (unit[..., None] * unit[..., None, :]).flatten(-2)
    return functional.linear(products, inverse, constant).unflatten(-1, (3, 3))


def half_rotations(rotation: Tensor) -> Tensor:
    """Rotations ``[..., 3, 3]`` by half the angle of others, which is at most pi; smooth at the identity."""
    quaternion = matrix_quaternions(rotation)
    # A quaternion with positive real part plus one points halfway.
    return quaternion_matrices(quaternion + _quaternion_map(rotation.device, rotation.dtype)[-1])


def rotation_vectors(rotation: Tensor) -> Tensor:
    """Axis times angle in radians ``[..., 3]`` of rotations ``[..., 3, 3]``, the angle at most pi."""
    quaternion = matrix_quaternions(rotation)
    real, axis = quaternion[..., :1], quaternion[..., 1:]
    # Near the identity, where real is 1, the angle is twice the sine of its half.
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True).clamp_min(1e-6)
    return axis * (2 * torch.atan2(sine, real) / sine)
