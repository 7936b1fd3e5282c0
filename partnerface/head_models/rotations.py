"""Rotation matrices as quaternions and rotation vectors.

pytorch3d's functions of the same purpose make a constant on the host and select by a mask: on a GPU the host
would wait for the device three times in every step.
"""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_quaternions(rotation: Tensor) -> Tensor:
    """Unit quaternions ``[..., 4]``, real part first and not negative, of rotations ``[..., 3, 3]``.

    Of the four ways to find one, that with the largest divisor (Shepperd 1978). Differentiable.
    """
    m = rotation.flatten(-2)
    x, y, z = m[..., 0], m[..., 4], m[..., 8]
    squares = torch.stack([1 + x + y + z, 1 + x - y - z, 1 - x + y - z, 1 - x - y + z], -1)
    a, b, c = m[..., 7] - m[..., 5], m[..., 2] - m[..., 6], m[..., 3] - m[..., 1]
    d, e, f = m[..., 3] + m[..., 1], m[..., 2] + m[..., 6], m[..., 5] + m[..., 7]
    s, i, j, k = squares.unbind(-1)
    rows = torch.stack([s, a, b, c, a, i, d, e, b, d, j, f, c, e, f, k], -1).unflatten(-1, (4, 4))
    best = squares.argmax(-1, keepdim=True)
    row = rows.gather(-2, best[..., None].expand(*best.shape, 4))[..., 0, :]
    found = row / (2 * squares.gather(-1, best).sqrt())
    return torch.where(found[..., :1] < 0, -found, found)


def rotation_vectors(rotation: Tensor) -> Tensor:
    """Axis times angle in radians ``[..., 3]`` of rotations ``[..., 3, 3]``, the angle at most pi."""
    quaternion = matrix_quaternions(rotation)
    real, axis = quaternion[..., :1], quaternion[..., 1:]
    sine = axis.norm(dim=-1, keepdim=True)
    # Near the identity the angle is twice the sine of its half.
    factor = torch.where(sine > 1e-6, 2 * torch.atan2(sine, real) / sine.clamp_min(1e-6), 2.0)
    return factor * axis
