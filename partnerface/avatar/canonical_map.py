"""CanonicalMap: observed samples -> canonical positions after the fine motion, for one posed frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from partnerface.cameras.pinhole import image_pixels, pixel_rays
from partnerface.data.view import View
from partnerface.deformation.deformation import (
    CanonicalCube,
    Deformation,
    DeformedPoints,
    dense_part_weights,
    part_entropy,
    part_usage,
)
from partnerface.rendering.rendered_rays import DeformationStatistics
from partnerface.sampling.ray_sampler import MarchedRays
from partnerface.skinning.inverse_skinning import BEYOND_SEARCH, InverseSkinning

LEAST_DISTANCE = 1e-3
"""Sides of the canonical cube (about 0.4 mm): closer neighbours count as this far apart."""


@dataclass
class MappedSamples:
    """N of a bundle's M * S samples, in canonical space.

    Attributes:
        kept: ``[N]`` numbers of the samples that can hold density, rising.
        positions: ``[N, 3]`` after the fine motion, in [0, 1] of the canonical cube.
        appearance: ``[N, A]`` appearance code, or None.
        part_weights: ``[N, P]``, or None if not requested.
        statistics: statistics of the fine motion, for regularisers; None without gradients.
    """

    kept: Int[Tensor, " N"]
    positions: Float[Tensor, "N 3"]
    appearance: Float[Tensor, "N A"] | None
    part_weights: Float[Tensor, "N P"] | None = None
    statistics: DeformationStatistics | None = None


class CanonicalMap(ABC):
    """The map of one posed frame from observation space to moved canonical space."""

    @abstractmethod
    def __call__(self, sampled: MarchedRays, with_parts: bool = False) -> MappedSamples:
        """Carry the samples of some rays; ``with_parts`` adds their part weights and changes nothing else."""


@dataclass
class ExactMap(CanonicalMap):
    """Inverse skinning and deformation of every sample.

    Attributes:
        skinning: observation space to canonical space.
        deformation: fine motion in canonical space.
        surface: posed surface that points are skinned against.
        driving: ``[D]`` driving signal.
        cube: the canonical cube.
    """

    skinning: InverseSkinning
    deformation: Deformation
    surface: Any
    driving: Tensor
    cube: CanonicalCube

    def __call__(self, sampled: MarchedRays, with_parts: bool = False) -> MappedSamples:
        canonical = self.skinning(sampled.points, self.surface)
        kept = sampled.samples.evaluated(canonical.valid, canonical.faces >= 0).nonzero()[:, 0]
        points = self.skinning.with_gradient(canonical.select(kept), sampled.points[kept], self.surface)
        positions = self.cube(points)
        deformed = self.deformation(positions, self.driving)
        learning = torch.is_grad_enabled()
        return MappedSamples(
            kept,
            positions + deformed.offsets,
            deformed.appearance,
            self.part_weights(deformed) if with_parts else None,
            self._statistics(deformed, positions, kept, sampled.samples.count) if learning else None,
        )

    def values(self, points: Tensor, with_parts: bool = False) -> Tensor:
        """World points ``[N, 3]`` in canonical space, as ``[N, 4 + A]`` or ``[N, 4 + A + P]``.

        The columns: canonical point after the fine motion in metres; metres within the shell (see
        `InverseSkinning.depth_inside`); appearance code; part weights.
        """
        canonical = self.skinning(points, self.surface)
        return self.moved(canonical.points, self.skinning.depth_inside(canonical), with_parts)

    def moved(self, points: Tensor, inside: Tensor, with_parts: bool = False) -> Tensor:
        """`values` of canonical points ``[N, 3]`` that lie ``inside`` ``[N]`` metres within the shell."""
        deformed = self.deformation(self.cube(points), self.driving)
        columns = [points + deformed.offsets * self.cube.extent, inside[:, None]]
        if deformed.appearance is not None:
            columns.append(deformed.appearance)
        if with_parts:
            columns.append(self.part_weights(deformed))
        return torch.cat(columns, 1)

    def part_weights(self, deformed: DeformedPoints) -> Tensor:
        """``[N, P]`` weights of all parts."""
        return dense_part_weights(deformed.part_weights, deformed.part_index, self.deformation.parts)

    def _statistics(
        self, deformed: DeformedPoints, positions: Tensor, kept: Tensor, count: int
    ) -> DeformationStatistics:
        """Means over the samples ``kept`` of rays of ``count`` samples, for one frame (F = 1)."""
        offsets = deformed.offsets
        mean_square = offsets.square().sum(1).mean() if len(offsets) else offsets.sum()
        return DeformationStatistics(
            offset_size=(mean_square * (1000 * self.cube.extent) ** 2)[None],
            offset_roughness=offset_roughness(offsets, positions, kept, count)[None],
            part_usage=part_usage(deformed, self.deformation.parts)[None],
            part_entropy=part_entropy(deformed)[None],
        )


def offset_roughness(offsets: Tensor, positions: Tensor, kept: Tensor, count: int) -> Tensor:
    """Mean squared change of the offset per distance, between neighbouring samples of a ray.

    A finite difference that evaluates nothing twice. Neighbours in the world that are far apart in
    canonical space, such as the two lips, hardly count.

    Args:
        offsets: ``[N, 3]`` in sides of the canonical cube.
        positions: ``[N, 3]`` before the fine motion, in [0, 1] of the cube.
        kept: ``[N]`` numbers of the samples, rising.
        count: samples per ray.
    """
    neighbours = (kept.diff() == 1) & (kept[1:] % count != 0)
    distance = positions.detach().diff(dim=0).square().sum(1) + LEAST_DISTANCE**2
    change = offsets.diff(dim=0).square().sum(1) / distance
    return (change * neighbours).sum() / neighbours.sum().clamp_min(1)


def canonical_points_of_pixels(exact: ExactMap, view: View, depth: Tensor) -> Tensor:
    """``[H, W, 3]`` canonical points, metres, of the pixels of a view (F = 1) at depths ``[H, W]``.

    NaN where the depth is 0 and where the point lies far outside the shell.
    """
    camera, seen = view.camera, depth.reshape(-1) > 0
    rays = pixel_rays(camera, image_pixels(camera.width, camera.height).to(depth)[None]).select(seen)
    values = exact.values(rays.origins[0] + rays.directions[0] * depth.reshape(-1)[seen, None])
    points = torch.full((depth.numel(), 3), torch.nan, device=depth.device)
    points[seen] = torch.where(values[:, 3:4] > BEYOND_SEARCH, values[:, :3], torch.nan)
    return points.view(*depth.shape, 3)


@dataclass
class PreparedFrame:
    """One frame, posed and ready for rays.

    Attributes:
        bounds: what rays are sampled against, as the sampler gives it.
        exact: inverse skinning and deformation of this frame.
        canonical_map: the map to use: ``exact``, or a faster one for a whole picture.
        pose: rotation ``[3, 3]`` and translation ``[3]`` of the rigid head, head to world, metres.
        view_rotation: ``[3, 3]`` head to world with its joints: undoes the head's turn in view directions.
        torso: motion of the torso ``[2, 3]`` and the head's pose relative to the mean of training ``[6]``.
    """

    bounds: Any
    exact: ExactMap
    canonical_map: CanonicalMap
    pose: tuple[Tensor, Tensor]
    view_rotation: Tensor
    torso: tuple[Tensor, Tensor]
