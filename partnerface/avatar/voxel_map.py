"""VoxelMap: the canonical map of a whole picture, interpolated where it is smooth.

A picture has about ten times as many samples as the shell around the head has voxels, and skinning and fine
motion change slowly from one to the next. They are evaluated at the voxels' corners only, and sample by
sample where a voxel is uneven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from partnerface.avatar.canonical_map import CanonicalMap, ExactMap, MappedSamples
from partnerface.avatar.sparse_voxels import SparseVoxels, known_at_corners
from partnerface.compute.chunks import cpu_threads, in_pieces, map_chunks
from partnerface.sampling.occupancy import OccupancyGrid
from partnerface.sampling.ray_sampler import MarchedRays
from partnerface.skinning.inverse_skinning import BEYOND_SEARCH

LEAST_SAMPLES = 100_000
"""Pictures of fewer samples are mapped exactly: voxels would not pay."""

SIDE = 64
"""Voxels along an axis for a picture of `SIDE_SAMPLES` samples: there are about ten samples to a corner."""

SIDE_SAMPLES = 250_000

LARGEST_SIDE = 384
"""A table of all corners has 4 bytes for each: 0.2 GB."""

RIM = 0.001
"""Metres about the shell's rim in which samples are tested one by one for being inside."""

CORNERS_AT_ONCE = 16384

CORNERS_AT_ONCE_ON_GPU = 131_072
"""Few pieces, for each costs launches; with eight parts a piece takes half a gigabyte."""


@dataclass
class VoxelMap(CanonicalMap):
    """Values of the exact map at the corners of voxels, interpolated between them.

    Attributes:
        exact: the map to interpolate, and to use where a voxel is uneven.
        voxels: its values at the corners.
    """

    exact: ExactMap
    voxels: SparseVoxels

    def __call__(self, sampled: MarchedRays, with_parts: bool = False) -> MappedSamples:
        exact, code = self.exact, 4 + self.exact.deformation.appearance_width
        values, trusted = self.voxels(sampled.points)
        uneven = (~trusted | (values[:, 3].abs() < RIM)).nonzero()[:, 0]
        canonical = exact.skinning(sampled.points[uneven], sampled.point_frame[uneven], exact.surface)
        inside = values[:, 3].index_copy(0, uneven, exact.skinning.depth_inside(canonical))
        chosen = sampled.samples.evaluated(inside >= 0, inside > BEYOND_SEARCH)
        moving = chosen[uneven].nonzero()[:, 0]
        moved = in_pieces(
            partial(exact.moved, with_parts=with_parts),
            torch.cat,
            canonical.points[moving],
            inside[uneven[moving]],
            most=CORNERS_AT_ONCE_ON_GPU,
        )
        values[uneven[moving], : moved.shape[1]] = moved
        kept = chosen.nonzero()[:, 0]
        values = values[kept]
        return MappedSamples(
            kept,
            None,
            exact.cube(values[:, :3]),
            values[:, 4:code] if code > 4 else None,
            values[:, code : code + exact.deformation.parts] if with_parts else None,
        )


def picture_map(
    exact: ExactMap,
    sampled: Sequence[MarchedRays],
    pose: tuple[Tensor, Tensor],
    occupancy: OccupancyGrid | None,
    with_parts: bool = False,
) -> CanonicalMap:
    """The map for all samples of a picture: in voxels where that pays, else the exact one.

    Args:
        exact: the map of the picture's frame.
        sampled: the picture's rays, in pieces.
        pose: rotation ``[3, 3]`` and translation ``[3]`` of the rigid head, head to world.
        occupancy: gives the cube of the voxels in the rigid head frame; without one the map is exact.
        with_parts: part weights will be requested.
    """
    count = sum(len(piece.hit) * piece.samples.count for piece in sampled)
    if occupancy is None or count < LEAST_SAMPLES:
        return exact
    side = min(LARGEST_SIDE, round(SIDE * max(1.0, (count / SIDE_SAMPLES) ** 0.5)))

    def at_corners(points: Tensor) -> Tensor:
        pieces = points.split(CORNERS_AT_ONCE if points.device.type == "cpu" else CORNERS_AT_ONCE_ON_GPU)
        threads = cpu_threads(points.device)
        return torch.cat(map_chunks(lambda piece: exact.values(piece, with_parts), pieces, threads))

    points = [piece.points for piece in sampled]
    return VoxelMap(
        exact, known_at_corners(points, at_corners, pose, (occupancy.low, occupancy.extent), side)
    )
