"""Multiresolution hash grid as a Warp kernel with gradients (Instant-NGP, Mueller et al. 2022, section 3)."""

from __future__ import annotations

import math

import torch
import warp as wp
from torch import Tensor, nn

from partnerface.warp_launch import as_vec3, as_vec4, launch

FEATURES = 4
"""Features of a table entry: one Warp vec4."""


_PRIME_Y = wp.constant(wp.uint32(2654435761))
_PRIME_Z = wp.constant(wp.uint32(805459861))


@wp.func
def _entry(cell: wp.vec3i, resolution: int, table_size: int) -> int:
    side = resolution + 1
    index = int(0)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
    # A level that fits is stored densely: no two of its corners share an entry.
    if side * side * side <= table_size:
        index = cell[0] + side * (cell[1] + side * cell[2])
    else:
        mixed = wp.uint32(cell[0]) ^ (wp.uint32(cell[1]) * _PRIME_Y) ^ (wp.uint32(cell[2]) * _PRIME_Z)
        index = int(mixed & wp.uint32(table_size - 1))
    return index


@wp.func
def _lowest_corner(scaled: wp.vec3, resolution: int) -> wp.vec3i:
    return wp.vec3i(
        wp.clamp(int(wp.floor(scaled[0])), 0, resolution - 1),
        wp.clamp(int(wp.floor(scaled[1])), 0, resolution - 1),
        wp.clamp(int(wp.floor(scaled[2])), 0, resolution - 1),
    )


@wp.kernel(enable_backward=False)
def _encode(
    positions: wp.array(dtype=wp.vec3),
    tables: wp.array(dtype=wp.vec4),
    resolutions: wp.array(dtype=wp.int32),
    table_size: int,
    features: wp.array(dtype=wp.vec4, ndim=2),
):
    level, i = wp.tid()
    resolution = resolutions[level]
    scaled = positions[i] * float(resolution)
    low = _lowest_corner(scaled, resolution)
    f = scaled - wp.vec3(float(low[0]), float(low[1]), float(low[2]))
    total = wp.vec4()
    for corner in range(8):
        bit = wp.vec3i(corner & 1, (corner >> 1) & 1, corner >> 2)
        weight = float(1.0)  # noqa: UP018 (Warp: a variable, not a constant)
        for axis in range(3):
            weight *= wp.where(bit[axis] == 1, f[axis], 1.0 - f[axis])
        total += weight * tables[level * table_size + _entry(low + bit, resolution, table_size)]
    features[i, level] = total


@wp.kernel(enable_backward=False)
def _encode_backward(
    positions: wp.array(dtype=wp.vec3),
    tables: wp.array(dtype=wp.vec4),
    resolutions: wp.array(dtype=wp.int32),
    table_size: int,
    feature_gradient: wp.array(dtype=wp.vec4, ndim=2),
    table_gradient: wp.array(dtype=wp.vec4),
    position_gradient: wp.array(dtype=wp.vec3),
):
    level, i = wp.tid()
    resolution = resolutions[level]
    scaled = positions[i] * float(resolution)
    low = _lowest_corner(scaled, resolution)
    f = scaled - wp.vec3(float(low[0]), float(low[1]), float(low[2]))
    gradient = feature_gradient[i, level]
    slope = wp.vec3()
    for corner in range(8):
        wx = wp.where((corner & 1) == 1, f[0], 1.0 - f[0])
        wy = wp.where(((corner >> 1) & 1) == 1, f[1], 1.0 - f[1])
        wz = wp.where((corner >> 2) == 1, f[2], 1.0 - f[2])
        sx = wp.where((corner & 1) == 1, 1.0, -1.0)
        sy = wp.where(((corner >> 1) & 1) == 1, 1.0, -1.0)
        sz = wp.where((corner >> 2) == 1, 1.0, -1.0)
        bit = wp.vec3i(corner & 1, (corner >> 1) & 1, corner >> 2)
        entry = level * table_size + _entry(low + bit, resolution, table_size)
        along = wp.dot(gradient, tables[entry])
        slope += along * wp.vec3(sx * wy * wz, sy * wx * wz, sz * wx * wy)
        wp.atomic_add(table_gradient, entry, (wx * wy * wz) * gradient)
    wp.atomic_add(position_gradient, i, slope * float(resolution))


class _HashEncoding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, positions: Tensor, tables: Tensor, resolutions: Tensor) -> Tensor:
        ctx.save_for_backward(positions, tables, resolutions)
        levels = len(resolutions)
        features = torch.empty(len(positions), levels, FEATURES, device=positions.device)
        output = wp.from_torch(features, dtype=wp.vec4)
        inputs = [as_vec3(positions), as_vec4(tables), resolutions, tables.shape[1], output]
        launch(_encode, (levels, len(positions)), inputs, positions.device)
        return features.flatten(1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        positions, tables, resolutions = ctx.saved_tensors
        levels = len(resolutions)
        table_gradient, position_gradient = torch.zeros_like(tables), torch.zeros_like(positions)
        feature_gradient = gradient.contiguous().view(-1, levels, FEATURES)
        inputs = [
            as_vec3(positions),
            as_vec4(tables),
            resolutions,
            tables.shape[1],
            wp.from_torch(feature_gradient, dtype=wp.vec4),
            as_vec4(table_gradient),
            as_vec3(position_gradient),
        ]
        launch(_encode_backward, (levels, len(positions)), inputs, positions.device)
        return position_gradient, table_gradient, None


class HashGrid(nn.Module):
    """Trilinear features of a point from tables at several resolutions.

    Args:
        levels: number of resolutions.
        log2_table_size: entries of a table, as a power of two; coarser levels are dense.
        coarsest: cells along an axis at the first level.
        finest: cells along an axis at the last level.
    """

    def __init__(
        self, levels: int = 8, log2_table_size: int = 15, coarsest: int = 16, finest: int = 384
    ) -> None:
        super().__init__()
        growth = math.exp(math.log(finest / coarsest) / max(levels - 1, 1))
        resolutions = [math.floor(coarsest * growth**level + 1e-6) for level in range(levels)]
        self.register_buffer("resolutions", torch.tensor(resolutions, dtype=torch.int32), persistent=False)
        self.tables = nn.Parameter(torch.empty(levels, 2**log2_table_size, FEATURES).uniform_(-1e-3, 1e-3))

    @property
    def width(self) -> int:
        return len(self.resolutions) * FEATURES

    def forward(self, positions: Tensor) -> Tensor:
        """Features ``[N, width]`` of positions ``[N, 3]`` in [0, 1]; outside, the last cell extrapolates."""
        return _HashEncoding.apply(positions.float().contiguous(), self.tables, self.resolutions)
