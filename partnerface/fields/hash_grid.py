"""Multiresolution hash grid as a Warp kernel with gradients (Instant-NGP, Mueller et al. 2022, section 3)."""

from __future__ import annotations

import math
from typing import no_type_check

import torch
import warp as wp
from torch import Tensor, nn

from partnerface.compute.warp_launch import as_vec3, as_vec4, launch

FEATURES = 4
"""Features of a table entry: one Warp vec4."""

RUN_LENGTH = 16
"""Consecutive points that one CPU thread encodes at a level: what the level has in common is worked out
once. On a GPU, where points must run side by side, the run is one point."""

_PRIME_Y = wp.constant(wp.uint32(2654435761))
_PRIME_Z = wp.constant(wp.uint32(805459861))
_Corners = wp.types.vector(length=8, dtype=wp.int32)


@wp.func
@no_type_check
def _lowest_corner(scaled: wp.vec3, resolution: int) -> wp.vec3i:
    return wp.vec3i(
        wp.clamp(int(wp.floor(scaled[0])), 0, resolution - 1),
        wp.clamp(int(wp.floor(scaled[1])), 0, resolution - 1),
        wp.clamp(int(wp.floor(scaled[2])), 0, resolution - 1),
    )


@wp.func
@no_type_check
def _entries(low: wp.vec3i, level: int, resolution: int, table_size: int) -> _Corners:
    """Entries of a cell's corners, x running fastest, then y."""
    side = resolution + 1
    first = level * table_size
    corners = _Corners()
    # A level that fits is stored densely: no two of its corners share an entry.
    if side * side * side <= table_size:
        first += low[0] + side * (low[1] + side * low[2])
        for corner in range(8):
            corners[corner] = first + (corner & 1) + side * (((corner >> 1) & 1) + side * (corner >> 2))
    else:
        mask = wp.uint32(table_size - 1)
        for corner in range(8):
            x = wp.uint32(low[0] + (corner & 1))
            y = wp.uint32(low[1] + ((corner >> 1) & 1)) * _PRIME_Y
            z = wp.uint32(low[2] + (corner >> 2)) * _PRIME_Z
            corners[corner] = first + int((x ^ y ^ z) & mask)
    return corners


@wp.func
@no_type_check
def _mix(near: wp.vec4, far: wp.vec4, share: float) -> wp.vec4:
    return (1.0 - share) * near + share * far


@wp.kernel(enable_backward=False)
@no_type_check
def _encode(
    positions: wp.array(dtype=wp.vec3),
    tables: wp.array(dtype=wp.vec4),
    resolutions: wp.array(dtype=wp.int32),
    table_size: int,
    run: int,
    features: wp.array(dtype=wp.vec4, ndim=2),
):
    level, thread = wp.tid()
    resolution = resolutions[level]
    for i in range(thread * run, wp.min((thread + 1) * run, positions.shape[0])):
        scaled = positions[i] * float(resolution)
        low = _lowest_corner(scaled, resolution)
        f = scaled - wp.vec3(float(low[0]), float(low[1]), float(low[2]))
        e = _entries(low, level, resolution, table_size)
        front = _mix(_mix(tables[e[0]], tables[e[1]], f[0]), _mix(tables[e[2]], tables[e[3]], f[0]), f[1])
        back = _mix(_mix(tables[e[4]], tables[e[5]], f[0]), _mix(tables[e[6]], tables[e[7]], f[0]), f[1])
        features[i, level] = _mix(front, back, f[2])


@wp.kernel(enable_backward=False)
@no_type_check
def _encode_backward(
    positions: wp.array(dtype=wp.vec3),
    tables: wp.array(dtype=wp.vec4),
    resolutions: wp.array(dtype=wp.int32),
    table_size: int,
    run: int,
    feature_gradient: wp.array(dtype=wp.vec4, ndim=2),
    table_gradient: wp.array(dtype=wp.vec4),
    position_gradient: wp.array(dtype=wp.vec3),
):
    level, thread = wp.tid()
    resolution = resolutions[level]
    for i in range(thread * run, wp.min((thread + 1) * run, positions.shape[0])):
        scaled = positions[i] * float(resolution)
        low = _lowest_corner(scaled, resolution)
        f = scaled - wp.vec3(float(low[0]), float(low[1]), float(low[2]))
        entries = _entries(low, level, resolution, table_size)
        gradient = feature_gradient[i, level]
        slope = wp.vec3()
        for corner in range(8):
            wx = wp.where((corner & 1) == 1, f[0], 1.0 - f[0])
            wy = wp.where(((corner >> 1) & 1) == 1, f[1], 1.0 - f[1])
            wz = wp.where((corner >> 2) == 1, f[2], 1.0 - f[2])
            sx = wp.where((corner & 1) == 1, 1.0, -1.0)
            sy = wp.where(((corner >> 1) & 1) == 1, 1.0, -1.0)
            sz = wp.where((corner >> 2) == 1, 1.0, -1.0)
            along = wp.dot(gradient, tables[entries[corner]])
            slope += along * wp.vec3(sx * wy * wz, sy * wx * wz, sz * wx * wy)
            wp.atomic_add(table_gradient, entries[corner], (wx * wy * wz) * gradient)
        wp.atomic_add(position_gradient, i, slope * float(resolution))


def _launch_over_points(kernel: wp.Kernel, positions: Tensor, tables: Tensor, inputs: list) -> None:
    """Launch over levels and runs of points; ``inputs`` follow positions, tables, resolutions and sizes."""
    run = RUN_LENGTH if positions.device.type == "cpu" else 1
    shared = [as_vec3(positions), as_vec4(tables), inputs[0], tables.shape[1], run]
    launch(kernel, (len(tables), -(-len(positions) // run)), shared + inputs[1:], positions.device)


class _HashEncoding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, positions: Tensor, tables: Tensor, resolutions: Tensor) -> Tensor:
        ctx.save_for_backward(positions, tables, resolutions)
        levels = len(resolutions)
        features = torch.empty(len(positions), levels, FEATURES, device=positions.device)
        output = wp.from_torch(features, dtype=wp.vec4)
        _launch_over_points(_encode, positions, tables, [resolutions, output])
        return features.flatten(1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        positions, tables, resolutions = ctx.saved_tensors
        levels = len(resolutions)
        table_gradient, position_gradient = torch.zeros_like(tables), torch.zeros_like(positions)
        feature_gradient = gradient.contiguous().view(-1, levels, FEATURES)
        given = wp.from_torch(feature_gradient, dtype=wp.vec4)
        inputs = [resolutions, given, as_vec4(table_gradient), as_vec3(position_gradient)]
        _launch_over_points(_encode_backward, positions, tables, inputs)
        return position_gradient, table_gradient, None


class HashGrid(nn.Module):
    """Trilinear features of a point from tables at several resolutions.

    Args:
        levels: number of resolutions.
        log2_table_size: entries of a table, as a power of two; coarser levels are dense.
        coarsest: cells along an axis at the first level.
        finest: cells along an axis at the last level.
    """

    resolutions: Tensor

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
