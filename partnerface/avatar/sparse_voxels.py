"""SparseVoxels: values known at the corners of the voxels that points visit, and interpolated between them.

A large picture has many more samples than the shell around a head has voxels. Where values change evenly
from corner to corner they are interpolated; a voxel whose corners disagree (closed lids, lips, either side
of something thin) says so, and its points are left to the exact way. The corners of its neighbours may miss
what is smaller than a voxel, such as the crease of a lid: those are tried in the middle, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import torch
import warp as wp
from torch import Tensor
from torch.nn import functional

from partnerface.compute.warp_launch import as_vec3, launch, operator
from partnerface.meshes.dilation import dilate
from partnerface.sampling.occupancy import HALF_DIAGONAL


@wp.func
@no_type_check
def _place(point: wp.vec3, into_voxels: wp.array(dtype=wp.float32, ndim=2), side: int) -> wp.vec3:
    place = wp.vec3()
    for axis in range(3):
        value = into_voxels[axis, 3]
        for k in range(3):
            value += into_voxels[axis, k] * point[k]
        place[axis] = wp.clamp(value, 0.0, float(side) - 1.0e-3)
    return place


@wp.kernel(enable_backward=False)
@no_type_check
def _visit(
    points: wp.array(dtype=wp.vec3),
    into_voxels: wp.array(dtype=wp.float32, ndim=2),
    visited: wp.array(dtype=wp.uint8, ndim=3),
):
    p = _place(points[wp.tid()], into_voxels, visited.shape[0])
    visited[int(p[2]), int(p[1]), int(p[0])] = wp.uint8(1)


@wp.kernel(enable_backward=False)
@no_type_check
def _judge(
    voxels: wp.array(dtype=wp.int64, ndim=2),
    row: wp.array(dtype=wp.int32, ndim=3),
    values: wp.array(dtype=wp.float32, ndim=2),
    spacing: wp.array(dtype=wp.float32),
    bend: float,
    stretch: float,
    even: wp.array(dtype=wp.bool, ndim=3),
):
    i = wp.tid()
    z = int(voxels[i, 0])
    y = int(voxels[i, 1])
    x = int(voxels[i, 2])
    deepest = float(-wp.inf)
    for corner in range(8):
        here = row[z + (corner >> 2), y + ((corner >> 1) & 1), x + (corner & 1)]
        deepest = wp.max(deepest, values[here, 3])
    good = bool(True)  # noqa: UP018 (Warp: a variable, not a constant)
    for axis in range(3):
        step = wp.vec3i(wp.where(axis == 0, 1, 0), wp.where(axis == 1, 1, 0), wp.where(axis == 2, 1, 0))
        least = wp.vec3(wp.inf)
        most = wp.vec3(-wp.inf)
        for corner in range(8):
            # The four edges along this axis start at the corners of its lower side.
            if (corner >> axis) & 1 == 0:
                cx = x + (corner & 1)
                cy = y + ((corner >> 1) & 1)
                cz = z + (corner >> 2)
                here = row[cz, cy, cx]
                there = row[cz + step[2], cy + step[1], cx + step[0]]
                for channel in range(3):
                    change = (
                        values[there, channel] - values[here, channel] - spacing[0] * float(step[channel])
                    )
                    least[channel] = wp.min(least[channel], change)
                    most[channel] = wp.max(most[channel], change)
        for channel in range(3):
            if most[channel] - least[channel] > bend * spacing[0]:
                good = False
            if wp.max(most[channel], -least[channel]) > stretch * spacing[0]:
                good = False
    even[z, y, x] = good or deepest < -HALF_DIAGONAL * spacing[0]


@wp.kernel(enable_backward=False)
@no_type_check
def _interpolate(
    points: wp.array(dtype=wp.vec3),
    into_voxels: wp.array(dtype=wp.float32, ndim=2),
    row: wp.array(dtype=wp.int32, ndim=3),
    values: wp.array(dtype=wp.vec4, ndim=2),
    even: wp.array(dtype=wp.bool, ndim=3),
    found: wp.array(dtype=wp.vec4, ndim=2),
    trusted: wp.array(dtype=wp.bool),
):
    i = wp.tid()
    p = _place(points[i], into_voxels, even.shape[0])
    x = int(p[0])
    y = int(p[1])
    z = int(p[2])
    trusted[i] = even[z, y, x]
    if even[z, y, x]:
        fx = p[0] - float(x)
        fy = p[1] - float(y)
        fz = p[2] - float(z)
        for k in range(values.shape[1]):
            total = wp.vec4()
            for corner in range(8):
                weight = wp.where((corner & 1) == 1, fx, 1.0 - fx)
                weight *= wp.where(((corner >> 1) & 1) == 1, fy, 1.0 - fy)
                weight *= wp.where((corner >> 2) == 1, fz, 1.0 - fz)
                here = row[z + (corner >> 2), y + ((corner >> 1) & 1), x + (corner & 1)]
                total += weight * values[here, k]
            found[i, k] = total
    else:
        for k in range(values.shape[1]):
            found[i, k] = wp.vec4()


@operator("visited_voxels")
def visited_voxels(points: Tensor, into_voxels: Tensor, side: int) -> Tensor:
    """``[n, n, n]`` uint8: the voxels in which world points ``[N, 3]`` lie."""
    visited = torch.zeros(side, side, side, dtype=torch.uint8, device=points.device)
    launch(_visit, len(points), [as_vec3(points), into_voxels, visited], points.device)
    return visited


@visited_voxels.register_fake
def _(points: Tensor, into_voxels: Tensor, side: int) -> Tensor:
    return points.new_empty(side, side, side, dtype=torch.uint8)


@operator("even_voxels")
def even_voxels(
    judged: Tensor, row: Tensor, values: Tensor, spacing: Tensor, bend: float, stretch: float
) -> Tensor:
    """``[n, n, n]`` bool: the voxels of ``judged`` ``[N, 3]`` whose values change evenly; spacing ``[1]``."""
    side = row.shape[0] - 1
    even = torch.zeros(side, side, side, dtype=torch.bool, device=row.device)
    launch(_judge, len(judged), [judged, row, values, spacing, bend, stretch, even], row.device)
    return even


@even_voxels.register_fake
def _(judged: Tensor, row: Tensor, *rest: Tensor | float) -> Tensor:
    side = row.shape[0] - 1
    return row.new_empty(side, side, side, dtype=torch.bool)


@operator("interpolate_voxels")
def interpolate_voxels(
    points: Tensor, into_voxels: Tensor, row: Tensor, values: Tensor, even: Tensor
) -> tuple[Tensor, Tensor]:
    """`SparseVoxels.__call__` with the record's tensors."""
    count, groups = len(points), values.shape[1] // 4
    found = torch.empty(count, groups, 4, device=points.device)
    trusted = torch.empty(count, dtype=torch.bool, device=points.device)
    known = wp.from_torch(values.view(-1, groups, 4), dtype=wp.vec4)
    into = wp.from_torch(found, dtype=wp.vec4)
    launch(
        _interpolate, count, [as_vec3(points), into_voxels, row, known, even, into, trusted], points.device
    )
    return found.flatten(1), trusted


@interpolate_voxels.register_fake
def _(
    points: Tensor, into_voxels: Tensor, row: Tensor, values: Tensor, *rest: Tensor
) -> tuple[Tensor, Tensor]:
    count = len(points)
    return points.new_empty(count, values.shape[1]), points.new_empty(count, dtype=torch.bool)


@dataclass
class SparseVoxels:
    """A lattice over the cube of a rigid head, with values where points were.

    Attributes:
        into_voxels: ``[3, 4]`` world to units of voxels.
        row: ``[n + 1, n + 1, n + 1]`` int32 row of each corner's values, z first.
        values: ``[M, C]``, C a multiple of 4 (one Warp vec4 after the other).
        even: ``[n, n, n]`` bool: the voxel's values may be interpolated.
    """

    into_voxels: Tensor
    row: Tensor
    values: Tensor
    even: Tensor

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``[N, C]`` at world points ``[N, 3]``, and ``[N]`` bool: they can be trusted."""
        return interpolate_voxels(points, self.into_voxels, self.row, self.values, self.even)


def known_at_corners(
    points: list[Tensor],
    value: Callable[[Tensor], Tensor],
    pose: tuple[Tensor, Tensor],
    cube: tuple[Tensor, Tensor],
    side: int,
    bend: float = 0.1,
    stretch: float = 0.4,
    miss: float = 0.03,
) -> SparseVoxels:
    """Evaluate ``value`` at the corners of all voxels in which there are points.

    Args:
        points: world points ``[N_k, 3]``.
        value: world points ``[M, 3]`` to finite values ``[M, C]``. The first three are a place in metres that
            moves about as the point does in the rigid head frame; the fourth is how many metres the point
            lies within the region of interest, negative outside.
        pose: rotation ``[3, 3]`` and translation ``[3]`` of the rigid head, head to world.
        cube: lowest corner ``[3]`` and side of the cube in the rigid head frame.
        side: voxels along an axis.
        bend: greatest difference between the changes of value along a voxel's parallel edges, as a share of
            their length, in a voxel that is interpolated.
        stretch: greatest change of an edge's length or direction under ``value``, as a share of its length.
        miss: greatest interpolation error at the centre of a voxel beside an uneven one, as a share of the
            voxel's side. Points outside the region of interest are not checked.
    """
    (rotation, translation), (low, extent) = pose, cube
    spacing = extent / side
    offset = (-low - translation @ rotation) / spacing
    into_voxels = torch.cat([rotation.T / spacing, offset[:, None]], 1).contiguous()
    device = rotation.device
    visited = torch.zeros(side, side, side, dtype=torch.uint8, device=device)
    for some in points:
        visited |= visited_voxels(some, into_voxels, side)
    corners = _corners(visited).nonzero()
    row = torch.zeros(side + 1, side + 1, side + 1, dtype=torch.int32, device=device)
    row[corners.unbind(1)] = torch.arange(len(corners), dtype=torch.int32, device=device)

    def world(places: Tensor) -> Tensor:
        return (low + places.flip(1) * spacing) @ rotation.T + translation

    values = value(world(corners))
    values = functional.pad(values, (0, -values.shape[1] % 4)).contiguous()
    even = even_voxels(visited.nonzero(), row, values, spacing.view(1), bend, stretch)
    voxels = SparseVoxels(into_voxels, row, values, even)
    doubtful = (even & dilate(visited.bool() & ~even)).nonzero()
    middles = world(doubtful + 0.5)
    found, exact = voxels(middles)[0], value(middles)
    missed = (found[:, :3] - exact[:, :3]).norm(dim=1) > miss * spacing
    missed &= exact[:, 3] > -HALF_DIAGONAL * spacing
    even[doubtful[missed].unbind(1)] = False
    return voxels


def _corners(visited: Tensor) -> Tensor:
    """Lattice points ``[n + 1, n + 1, n + 1]`` uint8 at the corners of marked voxels ``[n, n, n]``."""
    for axis in range(3):
        shape = list(visited.shape)
        shape[axis] += 1
        grown = visited.new_zeros(shape)
        grown.narrow(axis, 0, shape[axis] - 1).bitwise_or_(visited)
        grown.narrow(axis, 1, shape[axis] - 1).bitwise_or_(visited)
        visited = grown
    return visited
