"""RaySampler: the interface of what decides where along a ray the avatar is evaluated, and its records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from partnerface.cameras.pinhole import RayBundle
from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.sampling.occupancy import OccupancyGrid


@dataclass
class RaySamples:
    """S samples on each of R rays.

    Attributes:
        depths: ``[R, S]`` metres along the ray, rising.
        lengths: ``[R, S]`` metres of ray that each sample stands for.
        opaque: ``[R]`` bool: the last sample lies on the opaque backstop and lets nothing through.
        hit: ``[R]`` bool: the ray has samples at all.
    """

    depths: Float[Tensor, "R S"]
    lengths: Float[Tensor, "R S"]
    opaque: Bool[Tensor, " R"]
    hit: Bool[Tensor, " R"]

    @property
    def count(self) -> int:
        """Samples per ray."""
        return self.depths.shape[1]

    def select(self, rays: Tensor) -> RaySamples:
        """The samples of some rays ``[M]``."""
        return RaySamples(self.depths[rays], self.lengths[rays], self.opaque[rays], self.hit[rays])

    def evaluated(self, valid: Tensor, reachable: Tensor) -> Tensor:
        """``[R * S]`` bool: samples to evaluate: those in the shell, and all that lie on the backstop."""
        shape = self.depths.shape
        evaluated = valid.view(shape).clone()
        evaluated[:, -1].logical_or_(self.opaque & reachable.view(shape)[:, -1])
        return evaluated.view(-1)


@dataclass
class MarchedRays:
    """R rays in each of F frames, M of which in all have S samples each.

    Attributes:
        rays: ``[F, R]``.
        hit: ``[M]`` numbers of the rays that have samples, frame by frame, rising; see `chosen`.
        samples: theirs.
    """

    rays: RayBundle
    hit: Int[Tensor, " M"]
    samples: RaySamples

    @classmethod
    def of(cls, rays: RayBundle, samples: RaySamples) -> MarchedRays:
        """Rays ``[F, R]`` and the samples of all of them, frame by frame."""
        hit, all_of_them = chosen(samples.hit)
        return cls(rays, hit, samples if all_of_them else samples.select(hit))

    def of_hit(self, values: Tensor) -> Tensor:
        """The rows ``[M, C]`` of the rays that have samples, from values ``[F, R, C]`` of all rays."""
        rows = values.contiguous().view(-1, values.shape[2])
        return rows if len(self.hit) == len(rows) else rows[self.hit]

    def of_samples(self, values: Tensor, kept: Tensor) -> Tensor:
        """The rows ``[N, C]`` of the rays of samples ``kept`` ``[N]``, rising, from values ``[M, C]``."""
        count = self.samples.count
        if len(kept) == len(values) * count:
            return values[:, None].expand(-1, count, -1).reshape(len(kept), values.shape[1])
        return values[torch.div(kept, count, rounding_mode="floor")]

    @cached_property
    def points(self) -> Tensor:
        """``[M * S, 3]`` the samples in world space, ray by ray."""
        origins, directions = self.of_hit(self.rays.origins), self.of_hit(self.rays.directions)
        points = torch.addcmul(origins[:, None], directions[:, None], self.samples.depths[..., None])
        return points.view(-1, 3)

    @cached_property
    def frame(self) -> Tensor:
        """``[M]`` int32 frame of each ray that has samples."""
        return torch.div(self.hit, self.rays.count, rounding_mode="floor").int()

    @cached_property
    def point_frame(self) -> Tensor:
        """``[M * S]`` int32 frame of each sample."""
        return self.frame[:, None].expand(-1, self.samples.count).contiguous().view(-1)


def chosen(marked: Tensor) -> tuple[Tensor, bool]:
    """Numbers ``[M]`` of the entries of ``marked`` ``[N]`` bool to evaluate, and whether they are all N.

    Those that are marked; in training on a GPU all, whatever is marked: how many there are only the device
    knows, and for the host to wait for the answer takes longer than to evaluate the rest.
    """
    if marked.device.type != "cpu" and torch.is_grad_enabled():
        return torch.arange(len(marked), device=marked.device), True
    return marked.nonzero()[:, 0], False


class RaySampler(nn.Module, ABC):
    """Places samples on rays around a posed head.

    Attributes:
        occupancy: grid of places with density that the avatar keeps up to date in training, or None for a
            sampler without one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.occupancy: OccupancyGrid | None = None

    def set_surface(
        self, head_model: HeadModel, canonical: Tensor, surface: Tensor, thickness: Tensor
    ) -> None:
        """Prepare what follows from the person's surface; called before fit and after weights are loaded.

        Args:
            head_model: supplies faces, parts and the expression basis.
            canonical: ``[V, 3]`` canonical vertices, metres.
            surface: ``[Fc]`` bool, the faces of the head without the torso.
            thickness: ``[V]`` shell thickness in metres.
        """

    @abstractmethod
    def adapt_to(
        self, head_model: HeadModel, surface: Tensor, thickness: Tensor, train: HeadParameters
    ) -> None:
        """Enclose the shells of the training frames ``train``, before fit; the rest as in `set_surface`."""

    @abstractmethod
    def bounds(self, head: PosedHead, rotation: Tensor, translation: Tensor) -> Any:
        """What the rays of F frames are sampled against.

        Args:
            head: F posed heads.
            rotation: ``[F, 3, 3]`` their rigid poses, head to world.
            translation: ``[F, 3]`` metres.
        """

    @abstractmethod
    def forward(self, origins: Tensor, directions: Tensor, frame: Tensor, bounds: Any) -> RaySamples:
        """Sample world rays ``[N, 3]``: stratified at random in training, repeatable in evaluation.

        ``frame`` ``[N]`` int32 is the frame of each ray, a number in the ``bounds``.
        """
