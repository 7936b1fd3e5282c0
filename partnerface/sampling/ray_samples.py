"""RaySamples and SampledRays: where rays are evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.cameras.rays import RayBundle


@dataclass
class RaySamples:
    """S samples on each of R rays of one frame.

    Attributes:
        depths: ``[R, S]`` metres along the ray, rising.
        lengths: ``[R, S]`` metres of ray that each sample stands for.
        opaque: ``[R]`` bool: the last sample lies on the opaque backstop and lets nothing through.
        hit: ``[R]`` bool: the ray has samples at all.
    """

    depths: Tensor
    lengths: Tensor
    opaque: Tensor
    hit: Tensor

    @property
    def count(self) -> int:
        """Samples per ray."""
        return self.depths.shape[1]

    def select(self, rays: Tensor) -> RaySamples:
        """The samples of some rays ``[M]``."""
        return RaySamples(self.depths[rays], self.lengths[rays], self.opaque[rays], self.hit[rays])

    def evaluated(self, valid: Tensor, reachable: Tensor) -> Tensor:
        """``[R * S]`` bool: samples to evaluate: those in the shell, and all that lie on the backstop."""
        last = torch.zeros_like(self.depths, dtype=torch.bool)
        last[:, -1] = self.opaque
        return valid | (last.reshape(-1) & reachable)


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
