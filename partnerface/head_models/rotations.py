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
def _quaternion_map(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The linear map ``[16, 9]`` of `_QUATERNION_ROWS`, its inverse, and ``[16]`` what is added to it.

    Made once a device, for training too if that is first needed in an evaluation.
    """
    linear = torch.zeros(16, 9, dtype=torch.float64)
    for row, terms in enumerate(_QUATERNION_ROWS.split()):
        for sign, entry in zip(terms[::2], terms[1::2], strict=True):
            linear[row, int(entry)] = 1.0 if sign == "+" else -1.0
    found = linear, torch.linalg.pinv(linear), torch.eye(4).flatten()
    return tuple(tensor.to(device, dtype) for tensor in found)


def matrix_quaternions(rotation: Tensor) -> Tensor:
    """Unit quaternions ``[..., 4]``, real part first and not negative, of rotations ``[..., 3, 3]``.

    Of the four ways to find one, that with the largest divisor (Shepperd 1978). Differentiable.
    """
    linear, _, ones = _quaternion_map(rotation.device, rotation.dtype)
    rows = functional.linear(rotation.flatten(-2), linear, ones).unflatten(-1, (4, 4))
    squares = rows.diagonal(dim1=-2, dim2=-1)
    best = squares.argmax(-1, keepdim=True)
    row = rows.gather(-2, best[..., None].expand(*best.shape, 4))[..., 0, :]
    found = row / (2 * squares.gather(-1, best).sqrt())
    return torch.where(found[..., :1] < 0, -found, found)


def quaternion_matrices(quaternion: Tensor) -> Tensor:
    """Rotations ``[..., 3, 3]`` of quaternions ``[..., 4]`` of any length but zero, real part first."""
    _, inverse, ones = _quaternion_map(quaternion.device, quaternion.dtype)
    products = (quaternion[..., None] * quaternion[..., None, :]).flatten(-2)
    squared_length = quaternion.square().sum(-1, keepdim=True)
    return functional.linear(4 * products / squared_length - ones, inverse).unflatten(-1, (3, 3))


def rotation_vectors(rotation: Tensor) -> Tensor:
    """Axis times angle in radians ``[..., 3]`` of rotations ``[..., 3, 3]``, the angle at most pi."""
    quaternion = matrix_quaternions(rotation)
    real, axis = quaternion[..., :1], quaternion[..., 1:]
    sine = axis.norm(dim=-1, keepdim=True)
    # Near the identity the angle is twice the sine of its half.
    factor = torch.where(sine > 1e-6, 2 * torch.atan2(sine, real) / sine.clamp_min(1e-6), 2.0)
    return factor * axis
