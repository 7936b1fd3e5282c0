"""SampledRays: rays with the samples of those that meet the head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from partnerface.cameras.rays import RayBundle
from partnerface.rendering.ray_samples import RaySamples


@dataclass
class SampledRays:
    """R rays of one frame, M of which have S samples each.

    Attributes:
        rays: ``[1, R]``.
        hit: ``[M]`` the rays that have samples.
        samples: theirs.
        points: ``[M * S, 3]`` world space.
    """

    rays: RayBundle
    hit: Tensor
    samples: RaySamples
    points: Tensor

    @classmethod
    def of(cls, rays: RayBundle, samples: RaySamples) -> SampledRays:
        """Rays ``[1, R]`` and the samples of all of them."""
        hit = samples.hit.nonzero()[:, 0]
        met = samples.select(hit)
        origins, directions = rays.origins[0, hit], rays.directions[0, hit]
        points = origins[:, None] + directions[:, None] * met.depths[..., None]
        return cls(rays, hit, met, points.view(-1, 3))
