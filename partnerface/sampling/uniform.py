"""UniformSampler: evenly spread samples in a box, and importance samples where they have found density.

NeRF (Mildenhall et al. 2020, section 5.2). Depths are in metres along a ray; a row rises from near to far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.compute.threads import thread_generator
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.sampling.ray_sampler import RaySampler, RaySamples

PARALLEL = 1e-9
"""Smaller direction components are replaced by it, to avoid division by zero."""

BOX_MARGIN = 0.02
"""Metres around the shell of the training frames."""


@dataclass
class RigidFrame:
    """The rigid head frames of F posed heads.

    Attributes:
        rotation: ``[F, 3, 3]`` head to world.
        translation: ``[F, 3]`` metres.
    """

    rotation: Tensor
    translation: Tensor

    def rays(self, origins: Tensor, directions: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """World rays ``[N, 3]`` of frames ``[N]`` in their rigid head frames."""
        rotation = self.rotation.flatten(1).index_select(0, frame).view(-1, 3, 3)

        def turned(vectors: Tensor) -> Tensor:
            return (vectors[:, :, None] * rotation).sum(1)

        return turned(origins - self.translation.index_select(0, frame)), turned(directions)


class UniformSampler(RaySampler):
    """Samples a ray between the sides of a box around the heads of the training frames.

    Args:
        samples: samples per ray.

    Raises:
        UserError: fewer than three samples (they leave no interval to draw importance samples from).
    """

    low: Tensor
    high: Tensor

    def __init__(self, samples: Between[int, 3, 4096] = 64) -> None:
        super().__init__()
        if samples < 3:
            raise UserError(f"sampler: samples is {samples}; choose 3 or more")
        self.samples = samples
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("high", torch.ones(3))

    def adapt_to(
        self, head_model: HeadModel, surface: Tensor, thickness: Tensor, train: HeadParameters
    ) -> None:
        used = head_model.faces[surface].unique()
        rigid = (head_model(train).vertices[:, used] - train.translation[:, None]) @ train.rotation
        margin = thickness[used].max() + BOX_MARGIN
        self.low.copy_(rigid.amin((0, 1)) - margin)
        self.high.copy_(rigid.amax((0, 1)) + margin)

    def bounds(self, head: PosedHead, rotation: Tensor, translation: Tensor) -> RigidFrame:
        return RigidFrame(rotation, translation)

    def forward(self, origins: Tensor, directions: Tensor, frame: Tensor, bounds: RigidFrame) -> RaySamples:
        near, far = box_interval(*bounds.rays(origins, directions, frame), self.low, self.high)
        depths = near[:, None] + (far - near)[:, None] * self._places(len(near), self.samples, near)
        return _samples(depths, near, far)

    def importance_samples(
        self, samples: RaySamples, weights: Tensor, count: int, rays: tuple[Tensor, Tensor]
    ) -> RaySamples:
        """The S samples of a first pass, from `forward`, and ``count`` more, drawn where it found density.

        Args:
            samples: S samples of R rays.
            weights: ``[R, S]`` their rendering weights.
            count: number of new samples.
            rays: origins and directions ``[R, 3]`` in the rigid head frame.
        """
        near, far = box_interval(*rays, self.low, self.high)
        edges = (samples.depths[:, 1:] + samples.depths[:, :-1]) / 2
        drawn = inverse_cdf(edges, weights[:, 1:-1], self._places(len(near), count, near))
        return _samples(torch.cat([samples.depths, drawn], 1).sort(1).values, near, far)

    def _places(self, rays: int, count: int, like: Tensor) -> Tensor:
        """``[R, count]`` a place in each of count equal intervals: random in training, else the middle."""
        if self.training and torch.is_grad_enabled():
            within = torch.rand(rays, count, device=like.device, generator=thread_generator())
        else:
            within = like.new_full((rays, count), 0.5)
        return (torch.arange(count, device=like.device) + within) / count


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
    """A sample stands for the way to the next one, the last for the way to the far side.

    On a ray that misses they have no length: where rays are not counted, it is evaluated too.
    """
    lengths = torch.cat([depths[:, 1:], far[:, None]], 1) - depths
    hit = near < far
    lengths = torch.where(hit[:, None], lengths.clamp_min(0), 0.0)
    return RaySamples(depths, lengths, torch.zeros_like(hit), hit)
