"""PictureVoxels: the way to canonical space, interpolated, for a picture that has samples by the 100,000.

A picture has about ten times as many samples as the shell around the head has voxels, and skinning and fine
motion change slowly from one to the next. They are evaluated at the voxels' corners only, and one by one
where a voxel is uneven.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.avatar.canonical_map import MovedSamples, mean_square
from partnerface.avatar.sparse_voxels import SparseVoxels, known_at_corners
from partnerface.compute.chunks import cpu_threads, map_chunks
from partnerface.deformation.deformation import Deformation, DeformedPoints, part_usage
from partnerface.sampling.head_sampler import HeadBounds
from partnerface.sampling.occupancy import OccupancyGrid
from partnerface.sampling.ray_samples import SampledRays
from partnerface.skinning.nearest_surface import BEYOND_SEARCH, NearestSurface, PosedSurface

LEAST_SAMPLES = 100_000
"""A picture of fewer samples is carried sample by sample."""

SIDE = 64
"""Voxels along an axis for a picture of `SIDE_SAMPLES` samples: there are about ten samples to a corner."""

SIDE_SAMPLES = 250_000

RIM = 0.001
"""Metres about the shell's rim where samples ask sample by sample whether they are inside."""

CORNERS_AT_ONCE = 16384


@dataclass
class SampleBySample:
    """Skinning and fine motion of one posed frame.

    Attributes:
        skinning: observation space to canonical space.
        deformation: fine motion in canonical space.
        surface: what points are skinned against.
        driving: ``[D]`` driving signal.
        cube: lowest corner ``[3]`` and side of the canonical cube, metres.
    """

    skinning: NearestSurface
    deformation: Deformation
    surface: PosedSurface
    driving: Tensor
    cube: tuple[Tensor, Tensor]

    def values(self, points: Tensor) -> tuple[Tensor, DeformedPoints]:
        """World points ``[N, 3]`` as ``[N, 4 + A]``, and their fine motion.

        The columns: canonical place after the fine motion in metres; metres within the shell (see
        `NearestSurface.inside`); appearance code.
        """
        canonical = self.skinning(points, self.surface)
        return self.move(canonical.points, self.skinning.inside(canonical))

    def move(self, canonical: Tensor, inside: Tensor) -> tuple[Tensor, DeformedPoints]:
        """The same for canonical points ``[N, 3]`` in metres, ``inside`` ``[N]`` metres within the shell."""
        low, extent = self.cube
        deformed = self.deformation((canonical - low) / extent, self.driving)
        columns = [canonical + deformed.offsets * extent, inside[:, None]]
        if deformed.appearance is not None:
            columns.append(deformed.appearance)
        return torch.cat(columns, 1), deformed


@dataclass
class PictureVoxels:
    """One frame's way to canonical space between known places.

    Attributes:
        exact: the way sample by sample.
        voxels: its values at the corners of voxels.
        offset_square: see `MovedSamples`, over what was evaluated to build the voxels.
        part_usage: likewise.
    """

    exact: SampleBySample
    voxels: SparseVoxels
    offset_square: Tensor
    part_usage: Tensor

    def carry(self, sampled: SampledRays) -> MovedSamples:
        """Carry samples to canonical space."""
        values, trusted = self.voxels(sampled.points)
        uneven = (~trusted | (values[:, 3].abs() < RIM)).nonzero()[:, 0]
        canonical = self.exact.skinning(sampled.points[uneven], self.exact.surface)
        inside = values[:, 3].index_copy(0, uneven, self.exact.skinning.inside(canonical))
        chosen = sampled.samples.evaluated(inside >= 0, inside > BEYOND_SEARCH)
        moving = chosen[uneven].nonzero()[:, 0]
        moved = self.exact.move(canonical.points[moving], inside[uneven[moving]])[0]
        width = moved.shape[1]
        values[uneven[moving], :width] = moved
        kept = chosen.nonzero()[:, 0]
        values = values[kept]
        low, extent = self.exact.cube
        appearance = values[:, 4:width] if width > 4 else None
        return MovedSamples(
            kept, (values[:, :3] - low) / extent, appearance, self.offset_square, self.part_usage
        )


def voxels_of_picture(
    sampled: list[SampledRays], exact: SampleBySample, bounds: HeadBounds, occupancy: OccupancyGrid
) -> PictureVoxels | None:
    """Evaluate the corners of the voxels that a picture's samples visit; None where that does not pay."""
    count = sum(len(piece.points) for piece in sampled)
    if count < LEAST_SAMPLES:
        return None
    side = round(SIDE * max(1.0, (count / SIDE_SAMPLES) ** 0.5))
    seen: list[DeformedPoints] = []

    def at_corners(points: Tensor) -> Tensor:
        pieces = map_chunks(exact.values, points.split(CORNERS_AT_ONCE), cpu_threads(points.device))
        seen.extend(deformed for _, deformed in pieces)
        return torch.cat([values for values, _ in pieces])

    voxels = known_at_corners(
        [piece.points for piece in sampled],
        at_corners,
        (bounds.rotation, bounds.translation),
        (occupancy.low, occupancy.extent),
        side,
    )
    parts = exact.deformation.parts
    return PictureVoxels(
        exact,
        voxels,
        mean_square(torch.cat([deformed.offsets for deformed in seen])),
        torch.stack([part_usage(deformed, parts) for deformed in seen]).mean(0),
    )
