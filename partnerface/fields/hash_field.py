"""HashField: the canonical radiance field, a hash grid with small density and colour heads.

The grid is a Warp kernel with gradients (Instant-NGP, Mueller et al. 2022, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import no_type_check

import torch
import warp as wp
from torch import Tensor, nn
from torch.nn import functional

from partnerface.compute.network_types import evaluated_in, network_type
from partnerface.compute.ranges import Between
from partnerface.compute.warp_launch import as_vec3, as_vec4, keep_inputs, launch, operator, run_length
from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.radiance_field import DENSITY_SCALE, RadianceField

CACHED_POINTS = 4096
"""Points of a picture that a CPU core evaluates at once: their activations stay in its cache."""

FEATURES = 4
"""Features of a table entry: one Warp vec4."""

_PRIME_Y = wp.constant(wp.uint32(2654435761))
_PRIME_Z = wp.constant(wp.uint32(805459861))
_Corners = wp.types.vector(length=8, dtype=wp.int32)


class HashField(RadianceField):
    """A multiresolution hash grid with small density and colour heads (Instant-NGP, Mueller et al. 2022).

    Args:
        appearance_width: length of the appearance code that the colour head is conditioned on.
        levels: resolutions of the hash grid.
        log2_table_size: entries of each table, as a power of two.
        finest: cells along an axis at the finest level.
        hidden_width: width of the hidden layer of both heads.
        condition_density: condition the density head on the appearance code as well.
        bfloat16: evaluate the heads in bfloat16; grid and compositing stay in float32. It pays on a GPU.
        float16: the same in float16, for GPUs without bfloat16.

    Raises:
        UserError: the heads are to be evaluated in both.
    """

    def __init__(
        self,
        appearance_width: int,
        levels: Between[int, 1, 32] = 8,
        log2_table_size: Between[int, 1, 24] = 15,
        finest: Between[int, 1, 65_536] = 384,
        hidden_width: Between[int, 1, 4096] = 64,
        bfloat16: bool = False,
        condition_density: bool = False,
        float16: bool = False,
    ) -> None:
        super().__init__()
        self.network_type = network_type(bfloat16, float16)
        self.density_code_width = appearance_width if condition_density else 0
        self.grid = HashGrid(levels, log2_table_size, finest=finest)
        self.appearance_width = appearance_width
        self.density_head = nn.Sequential(
            nn.Linear(self.grid.width + self.density_code_width, hidden_width),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_width, 16),
        )
        self.colour_head = nn.Sequential(
            nn.Linear(15 + 16 + appearance_width, hidden_width),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_width, 3),
        )

    def grid_parameters(self) -> Iterable[nn.Parameter]:
        return self.grid.parameters()

    def encode_directions(self, directions: Tensor) -> Tensor:
        """The first 16 spherical harmonics of ``[R, 3]``."""
        return spherical_harmonics(directions)

    def density(self, positions: Tensor) -> Tensor:
        encoded = self.grid(positions)
        if self.density_code_width:
            encoded = functional.pad(encoded, (0, self.density_code_width))
        with evaluated_in(self.network_type, positions.device):
            raw_density = self.density_head(encoded)[:, 0]
        return functional.softplus(raw_density.float()) * DENSITY_SCALE

    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if positions.device.type != "cpu" or torch.is_grad_enabled() or len(positions) <= CACHED_POINTS:
            return self._evaluated(positions, directions, appearance)
        count = len(positions)
        density, rgb = positions.new_empty(count), positions.new_empty(count, 3)
        for first in range(0, count, CACHED_POINTS):
            piece = slice(first, first + CACHED_POINTS)
            code = None if appearance is None else appearance[piece]
            density[piece], rgb[piece] = self._evaluated(positions[piece], directions[piece], code)
        return density, rgb

    def _evaluated(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        encoded = self.grid(positions)
        if self.density_code_width and appearance is not None:
            encoded = torch.cat([encoded, appearance], 1)
        with evaluated_in(self.network_type, positions.device):
            raw_density, feature = self.density_head(encoded).split([1, 15], 1)
            inputs = [feature, directions]
            if appearance is not None:
                inputs.append(appearance)
            raw_rgb = self.colour_head(torch.cat(inputs, 1))
        density = functional.softplus(raw_density[:, 0].float()) * DENSITY_SCALE
        return density, torch.sigmoid(raw_rgb.float())


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
        return hash_encoding(positions.float().contiguous(), self.tables, self.resolutions)


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
    # A level that fits is stored densely: no two of its corners share an entry. The cube of 1300 is no int32.
    if wp.int64(side) * wp.int64(side) * wp.int64(side) <= wp.int64(table_size):
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
    run = run_length(positions.device)
    shared = [as_vec3(positions), as_vec4(tables), inputs[0], tables.shape[1], run]
    launch(kernel, (len(tables), -(-len(positions) // run)), shared + inputs[1:], positions.device)


@operator("hash_encoding")
def hash_encoding(positions: Tensor, tables: Tensor, resolutions: Tensor) -> Tensor:
    """Features ``[N, L * FEATURES]`` of positions ``[N, 3]`` from tables ``[L, T, FEATURES]``."""
    features = torch.empty(len(positions), len(resolutions), FEATURES, device=positions.device)
    _launch_over_points(_encode, positions, tables, [resolutions, wp.from_torch(features, dtype=wp.vec4)])
    return features.flatten(1)


@operator("hash_encoding_backward")
def hash_encoding_backward(
    gradient: Tensor, positions: Tensor, tables: Tensor, resolutions: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of positions and tables, from that of the features ``[N, L * FEATURES]``."""
    table_gradient, position_gradient = torch.zeros_like(tables), torch.zeros_like(positions)
    feature_gradient = gradient.contiguous().view(-1, len(resolutions), FEATURES)
    given = wp.from_torch(feature_gradient, dtype=wp.vec4)
    inputs = [resolutions, given, as_vec4(table_gradient), as_vec3(position_gradient)]
    _launch_over_points(_encode_backward, positions, tables, inputs)
    return position_gradient, table_gradient


@hash_encoding.register_fake
def _(positions: Tensor, tables: Tensor, resolutions: Tensor) -> Tensor:
    return positions.new_empty(len(positions), len(resolutions) * FEATURES)


@hash_encoding_backward.register_fake
def _(gradient: Tensor, positions: Tensor, tables: Tensor, resolutions: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(positions), torch.empty_like(tables)


def _backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    return *hash_encoding_backward(gradient, *ctx.saved_tensors), None


hash_encoding.register_autograd(_backward, setup_context=keep_inputs)
