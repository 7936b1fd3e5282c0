"""CanonicalMap: observed samples -> canonical positions after the fine motion, for posed frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from partnerface.cameras.pinhole import image_pixels, pixel_rays
from partnerface.data.view import View
from partnerface.deformation.deformation import (
    CanonicalCube,
    Deformation,
    DeformedPoints,
    dense_part_weights,
)
from partnerface.deformation.statistics import mean_motion, part_entropy
from partnerface.deformation.surface_shape import PosedNormals, along_surface, surface_shape
from partnerface.rendering.rendered_rays import DeformationStatistics
from partnerface.sampling.ray_sampler import MarchedRays, chosen
from partnerface.skinning.inverse_skinning import BEYOND_SEARCH, InverseSkinning

LEAST_DISTANCE = 1e-3
"""Sides of the canonical cube (about 0.4 mm): closer neighbours count as this far apart."""


@dataclass
class MappedSamples:
    """N of a bundle's M * S samples, in canonical space.

    Attributes:
        kept: ``[N]`` numbers of the samples that are evaluated, rising.
        solid: ``[N]`` bool: those of them that can hold density; None for all.
        positions: ``[N, 3]`` after the fine motion, in [0, 1] of the canonical cube.
        appearance: ``[N, A]`` what the colour is conditioned on: shape of the skin, if the map has normals,
            then the appearance code; or None.
        part_weights: ``[N, P]``, or None if not requested.
        statistics: statistics of the fine motion, for regularisers; None without gradients.
    """

    kept: Int[Tensor, " N"]
    solid: Bool[Tensor, " N"] | None
    positions: Float[Tensor, "N 3"]
    appearance: Float[Tensor, "N A"] | None
    part_weights: Float[Tensor, "N P"] | None = None
    statistics: DeformationStatistics | None = None


class CanonicalMap(ABC):
    """The map of posed frames from observation space to moved canonical space."""

    @abstractmethod
    def __call__(self, sampled: MarchedRays, with_parts: bool = False) -> MappedSamples:
        """Carry the samples of some rays; ``with_parts`` adds their part weights and changes nothing else."""


@dataclass
class ExactMap(CanonicalMap):
    """Inverse skinning and deformation of every sample.

    Attributes:
        skinning: observation space to canonical space.
        deformation: fine motion in canonical space.
        surface: posed surface of the F frames that points are skinned against.
        driving: ``[F, D]`` driving signals.
        cube: the canonical cube.
        normals: where the tracked surface faces, for a field that shades by the shape of the skin; or None.
    """

    skinning: InverseSkinning
    deformation: Deformation
    surface: Any
    driving: Tensor
    cube: CanonicalCube
    normals: PosedNormals | None = None

    def __call__(self, sampled: MarchedRays, with_parts: bool = False) -> MappedSamples:
        canonical = self.skinning(sampled.points, sampled.point_frame, self.surface)
        solid = sampled.samples.evaluated(canonical.valid, canonical.faces >= 0)
        world, frame = sampled.points, sampled.point_frame
        kept, all_of_them = chosen(solid)
        if not all_of_them:
            canonical, world, frame = canonical.select(kept), world[kept], frame[kept]
        mask = solid if all_of_them else None
        points = self.skinning.with_gradient(canonical, world, frame, self.surface)
        positions = self.cube(points)
        deformed = self.deformation(positions, self.driving, frame)
        appearance, facing = deformed.appearance, None
        if self.normals is not None:
            corners = self.skinning.faces[canonical.faces.long().clamp_min(0)]
            facing = self.normals.at(corners, canonical.barycentric, frame)
            shape = self._shape(positions.detach(), deformed.offsets, facing, frame)
            appearance = shape if appearance is None else torch.cat([shape, appearance], 1)
        statistics = None
        if torch.is_grad_enabled():
            statistics = self._statistics(deformed, positions, kept, frame, mask, sampled, facing)
        return MappedSamples(
            kept,
            mask,
            positions + deformed.offsets,
            appearance,
            self.part_weights(deformed) if with_parts else None,
            statistics,
        )

    def values(self, points: Tensor, with_parts: bool = False) -> Tensor:
        """World points ``[N, 3]`` of the one frame (F = 1) in canonical space, as ``[N, 4 + A]`` or
        ``[N, 4 + A + P]``.

        The columns: canonical point after the fine motion in metres; metres within the shell (see
        `InverseSkinning.depth_inside`); appearance code; part weights.
        """
        canonical = self.skinning(points, first_frame(points), self.surface)
        return self.moved(canonical.points, self.skinning.depth_inside(canonical), with_parts)

    def moved(self, points: Tensor, inside: Tensor, with_parts: bool = False) -> Tensor:
        """`values` of canonical points ``[N, 3]`` that lie ``inside`` ``[N]`` metres within the shell."""
        deformed = self.deformation(self.cube(points), self.driving, first_frame(points))
        columns = [points + deformed.offsets * self.cube.extent, inside[:, None]]
        if deformed.appearance is not None:
            columns.append(deformed.appearance)
        if with_parts:
            columns.append(self.part_weights(deformed))
        return torch.cat(columns, 1)

    def offsets(self, points: Tensor) -> Tensor:
        """Metres ``[N, 3]`` that the fine motion of the one frame (F = 1) adds to points ``[N, 3]``."""
        deformed = self.deformation(self.cube(points), self.driving, first_frame(points))
        return deformed.offsets * self.cube.extent

    def part_weights(self, deformed: DeformedPoints) -> Tensor:
        """``[N, P]`` weights of all parts."""
        return dense_part_weights(deformed.part_weights, deformed.part_index, self.deformation.parts)

    def _shape(self, positions: Tensor, offsets: Tensor, facing: Tensor, frame: Tensor) -> Tensor:
        """`surface_shape` of positions with their offsets and normals."""
        assert self.normals is not None

        def offsets_at(places: Tensor, frames: Tensor) -> Tensor:
            return self.deformation(places, self.driving, frames).offsets

        rotation, extent = self.normals.rotation, self.cube.extent
        return surface_shape(offsets_at, positions, offsets, facing, frame, rotation, extent)

    def _statistics(
        self,
        deformed: DeformedPoints,
        positions: Tensor,
        kept: Tensor,
        frame: Tensor,
        solid: Tensor | None,
        sampled: MarchedRays,
        facing: Tensor | None,
    ) -> DeformationStatistics:
        """Means over the solid ones of the samples ``kept`` of each frame's rays."""
        frames = len(self.driving)
        mean_square, usage = mean_motion(deformed, self.deformation.parts, frame, frames, solid)

        def groups() -> Tensor:
            # Samples that can hold no density count for one more frame, which is left out at the end.
            return frame if solid is None else torch.where(solid, frame, frames)

        def roughness() -> Tensor:
            offsets, count = deformed.offsets, sampled.samples.count
            return offset_roughness(offsets, positions, kept, count, groups(), frames + 1)[:frames]

        def slide() -> Tensor | None:
            if facing is None:
                return None
            ray = sampled.hit[torch.div(kept, sampled.samples.count, rounding_mode="floor")]
            shape = sampled.rays.directions.shape[:2]
            millimetres = 1000 * self.cube.extent * along_surface(deformed.offsets, facing)
            return mean_of_rays(millimetres.square().sum(1), ray, solid, shape.numel()).view(shape)

        return DeformationStatistics(
            offset_size=mean_square * (1000 * self.cube.extent) ** 2,
            part_usage=usage,
            roughness=roughness,
            entropy=lambda: part_entropy(deformed, groups(), frames + 1)[:frames],
            driving_share=self.deformation.driving_share(),
            slide=slide,
        )


def first_frame(points: Tensor) -> Tensor:
    """``[N]`` int32 zeros: N points that all lie in the first frame."""
    return torch.zeros(len(points), dtype=torch.int32, device=points.device)


def offset_roughness(
    offsets: Tensor, positions: Tensor, kept: Tensor, count: int, frame: Tensor, frames: int
) -> Tensor:
    """``[F]`` mean squared change of the offset per distance, between neighbouring samples of a ray.

    A finite difference that evaluates nothing twice. Neighbours in the world that are far apart in
    canonical space, such as the two lips, hardly count.

    Args:
        offsets: ``[N, 3]`` in sides of the canonical cube.
        positions: ``[N, 3]`` before the fine motion, in [0, 1] of the cube.
        kept: ``[N]`` numbers of the samples, rising.
        count: samples per ray.
        frame: ``[N]`` frame of each sample.
        frames: number of frames F.
    """
    neighbours = (kept.diff() == 1) & (kept[1:] % count != 0) & (frame.diff() == 0)
    distance = positions.detach().diff(dim=0).square().sum(1) + LEAST_DISTANCE**2
    change = offsets.diff(dim=0).square().sum(1) / distance
    total, pairs = (
        change.new_zeros(frames).index_add(0, frame[1:], some)
        for some in (change * neighbours, neighbours.to(change))
    )
    return total / pairs.clamp_min(1)


def mean_of_rays(values: Tensor, ray: Tensor, solid: Tensor | None, rays: int) -> Tensor:
    """``[rays]`` mean of the values ``[N]`` of each ray's samples, 0 for a ray without.

    Args:
        values: one for each sample.
        ray: ``[N]`` ray of each sample.
        solid: ``[N]`` bool the samples that count, or None for all.
        rays: number of rays.
    """
    counted = torch.ones_like(values) if solid is None else solid.to(values)
    total, count = (values.new_zeros(rays).index_add(0, ray, some) for some in (values * counted, counted))
    return total / count.clamp_min(1)


def canonical_points_of_pixels(exact: ExactMap, view: View, depth: Tensor) -> Tensor:
    """``[H, W, 3]`` canonical points, metres, of the pixels of a view (F = 1) at depths ``[H, W]``.

    NaN where the depth is 0 and where the point lies far outside the shell.
    """
    camera, seen = view.camera, depth.reshape(-1) > 0
    rays = pixel_rays(camera, image_pixels(camera.width, camera.height, depth.device)[None]).select(seen)
    values = exact.values(rays.origins[0] + rays.directions[0] * depth.reshape(-1)[seen, None])
    points = torch.full((depth.numel(), 3), torch.nan, device=depth.device)
    points[seen] = torch.where(values[:, 3:4] > BEYOND_SEARCH, values[:, :3], torch.nan)
    return points.view(*depth.shape, 3)


@dataclass
class PreparedFrames:
    """F frames, posed and ready for rays.

    Attributes:
        bounds: what rays are sampled against, as the sampler gives it.
        exact: inverse skinning and deformation of these frames.
        canonical_map: the map to use: ``exact``, or a faster one for a whole picture (F = 1).
        pose: rotation ``[F, 3, 3]`` and translation ``[F, 3]`` of the rigid heads, head to world, metres.
        view_rotation: ``[F, 3, 3]`` head to world with its joints: undoes the head's turn in view directions.
        torso: motion of the torso ``[F, 2, 3]`` and the head's pose relative to the mean of training
            ``[F, 6]``.
    """

    bounds: Any
    exact: ExactMap
    canonical_map: CanonicalMap
    pose: tuple[Tensor, Tensor]
    view_rotation: Tensor
    torso: tuple[Tensor, Tensor]
