"""Hierarchical ray samples: evenly spread first, then where the first pass found density.

NeRF (Mildenhall et al. 2020, section 5.2). Depths are in metres along a ray; a row rises from near to far.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partnerface.compute.threads import thread_generator
from partnerface.errors import UserError
from partnerface.sampling.ray_samples import RaySamples

PARALLEL = 1e-9
"""A direction's component below this is taken for this: the ray runs along the box's side."""


class HierarchicalSampler(nn.Module):
    """Samples a ray between the sides of a box.

    Args:
        coarse: samples C of the first pass.
        importance: samples M added where the first pass found density; the second pass has C + M.

    Raises:
        UserError: fewer than three coarse samples (they leave no interval to draw from) or no others.
    """

    def __init__(self, coarse: int = 64, importance: int = 64) -> None:
        super().__init__()
        if coarse < 3 or importance < 1:
            raise UserError(
                f"sampler: coarse is {coarse} and importance {importance}; choose 3 and 1 or more"
            )
        self.coarse, self.importance = coarse, importance
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("high", torch.ones(3))

    def forward(self, origins: Tensor, directions: Tensor) -> tuple[RaySamples, Tensor, Tensor]:
        """First pass over rays ``[R, 3]`` in the box's frame, and their near and far ``[R]``."""
        near, far = box_interval(origins, directions, self.low, self.high)
        places = (
            torch.arange(self.coarse, device=near.device) + self._jitter(len(near), self.coarse, near)
        ) / (self.coarse)
        depths = near[:, None] + (far - near)[:, None] * places
        return _samples(depths, near, far), near, far

    def refined(self, samples: RaySamples, weights: Tensor, near: Tensor, far: Tensor) -> RaySamples:
        """Second pass: the first pass's samples and M more, drawn by its weights ``[R, C]``."""
        edges = (samples.depths[:, 1:] + samples.depths[:, :-1]) / 2
        count = self.importance
        places = (torch.arange(count, device=near.device) + self._jitter(len(near), count, near)) / count
        drawn = inverse_cdf(edges, weights[:, 1:-1], places)
        return _samples(torch.cat([samples.depths, drawn], 1).sort(1).values, near, far)

    def _jitter(self, rays: int, count: int, like: Tensor) -> Tensor:
        """Place within each of ``count`` equal intervals: random in training, the centre in evaluation."""
        if self.training and torch.is_grad_enabled():
            return torch.rand(rays, count, device=like.device, generator=thread_generator())
        return like.new_full((rays, count), 0.5)


def box_interval(origins: Tensor, directions: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays ``[R, 3]`` enter and leave the box ``low``, ``high`` ``[3]``: near and far ``[R]``.

    A ray misses the box where near is not below far; near is 0 at least.
    """
    safe = torch.where(directions.abs() < PARALLEL, PARALLEL, directions)
    first, second = (low - origins) / safe, (high - origins) / safe
    near = torch.minimum(first, second).amax(1).clamp_min(0)
    return near, torch.maximum(first, second).amin(1)


def inverse_cdf(edges: Tensor, weights: Tensor, places: Tensor) -> Tensor:
    """Draw from a piecewise constant density along each ray.

    Args:
        edges: ``[R, B + 1]`` rising borders of the B intervals.
        weights: ``[R, B]`` weight of each interval, 0 or more; a ray without any is sampled evenly.
        places: ``[R, M]`` in [0, 1): values of the cumulative distribution.

    Returns:
        ``[R, M]`` between the first and the last edge; it rises where ``places`` do. No gradient.
    """
    with torch.no_grad():
        density = weights + 1e-5
        cumulative = (density / density.sum(1, keepdim=True)).cumsum(1)
        cumulative = torch.cat([torch.zeros_like(cumulative[:, :1]), cumulative], 1)
        # Rounding leaves the last value a little off one.
        interval = torch.searchsorted(cumulative, places.contiguous(), right=True)
        interval = interval.clamp(1, weights.shape[1]) - 1
        below, above = (cumulative.gather(1, interval + k) for k in (0, 1))
        start, end = (edges.gather(1, interval + k) for k in (0, 1))
        share = ((places - below) / (above - below).clamp_min(1e-9)).clamp(0, 1)
        return start + share * (end - start)


def _samples(depths: Tensor, near: Tensor, far: Tensor) -> RaySamples:
    """A sample stands for the way to the next one, the last for the way to the far side."""
    lengths = torch.cat([depths[:, 1:], far[:, None]], 1) - depths
    hit = near < far
    return RaySamples(depths, lengths.clamp_min(0), torch.zeros_like(hit), hit)
