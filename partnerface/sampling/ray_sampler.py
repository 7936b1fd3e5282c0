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
    """S samples on each of R rays of one frame.

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
        last = torch.zeros_like(self.depths, dtype=torch.bool)
        last[:, -1] = self.opaque
        return valid | (last.reshape(-1) & reachable)


@dataclass
class MarchedRays:
    """R rays of one frame, M of which have S samples each.

    Attributes:
        rays: ``[1, R]``.
        hit: ``[M]`` the rays that have samples.
        samples: theirs.
    """

    rays: RayBundle
    hit: Int[Tensor, " M"]
    samples: RaySamples

    @classmethod
    def of(cls, rays: RayBundle, samples: RaySamples) -> MarchedRays:
        """Rays ``[1, R]`` and the samples of all of them."""
        hit = samples.hit.nonzero()[:, 0]
        return cls(rays, hit, samples.select(hit))

    @cached_property
    def points(self) -> Tensor:
        """``[M * S, 3]`` the samples in world space, ray by ray."""
        origins, directions = self.rays.origins[0, self.hit], self.rays.directions[0, self.hit]
        points = origins[:, None] + directions[:, None] * self.samples.depths[..., None]
        return points.view(-1, 3)


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
    def bounds(self, head: PosedHead, rotation: Tensor, translation: Tensor, frame: int) -> Any:
        """What rays of frame number ``frame`` of a posed head are sampled against.

        Args:
            head: F posed heads.
            rotation: ``[3, 3]`` rigid pose of that frame's head, head to world.
            translation: ``[3]`` metres.
            frame: its number.
        """

    @abstractmethod
    def forward(self, origins: Tensor, directions: Tensor, bounds: Any) -> RaySamples:
        """Sample world rays ``[R, 3]``: stratified at random in training, repeatable in evaluation."""
