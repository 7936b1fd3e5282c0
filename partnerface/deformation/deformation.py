"""Deformation: the interface of the fine motion in canonical space, with the records it takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from partnerface.head_models.head_model import HeadModel

OFFSET_SCALE = 0.02
"""An output of one moves a point by this share of the canonical cube's side (about 8 mm)."""


class CanonicalCube(nn.Module):
    """The cube around the canonical head in which positions run from 0 to 1."""

    low: Tensor
    extent: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("extent", torch.ones(()))

    def enclose(self, points: Tensor, margin: Tensor) -> None:
        """Fit the cube around points ``[N, 3]`` and a margin, metres."""
        self.low.copy_(points.amin(0) - margin)
        self.extent.copy_((points.amax(0) - points.amin(0)).max() + 2 * margin)

    def forward(self, points: Tensor) -> Tensor:
        """Canonical points ``[N, 3]`` in metres as positions in the cube."""
        return (points - self.low) / self.extent


@dataclass
class CanonicalHead:
    """A person's head in canonical space, and how it moves in training.

    Attributes:
        head_model: gives the expression basis, the landmarks and the named regions.
        vertices: ``[V, 3]`` canonical vertices, metres.
        used: ``[U]`` the vertices of the volumetric head: no torso, no lashes.
        expression: ``[F, E]`` training expressions.
        in_cube: canonical points ``[N, 3]`` in metres -> positions in [0, 1] of the canonical cube.
    """

    head_model: HeadModel
    vertices: Float[Tensor, "V 3"]
    used: Int[Tensor, " U"]
    expression: Float[Tensor, "F E"]
    in_cube: CanonicalCube


@dataclass
class DeformedPoints:
    """Canonical points after the fine motion.

    Attributes:
        offsets: ``[N, 3]`` in units of the canonical cube's side.
        appearance: ``[N, A]`` appearance code for the colour head, or None.
        part_weights: ``[N, k]`` weights of the k strongest parts; rows sum to one.
        part_index: ``[N, k]`` their numbers.
    """

    offsets: Float[Tensor, "N 3"]
    appearance: Float[Tensor, "N A"] | None
    part_weights: Float[Tensor, "N k"]
    part_index: Int[Tensor, "N k"]


class Deformation(nn.Module, ABC):
    """Fine motion in canonical space.

    Constructors take the length of the driving signal first: an avatar makes its deformation by calling it
    with that number.

    Attributes:
        parts: number of parts P, 1 for a deformation without parts.
        driving_width: length D of the driving signal it expects.
        appearance_width: length A of the appearance code it gives, 0 for none.
        part_gains: ``[P]`` see `scale_parts`; not saved with the weights.
    """

    parts: int = 1
    driving_width: int = 0
    appearance_width: int = 0
    part_gains: Tensor | None = None

    def scale_parts(self, gains: Tensor | None) -> None:
        """Multiply what the network of each part adds, offsets and appearance code, by ``gains`` ``[P]``.

        0 switches a part off, 1 is as trained. None, the default, leaves everything as trained, to the bit.
        """
        self.part_gains = gains

    def adapt_to(self, head: CanonicalHead) -> None:
        """Set what depends on the person (part centres, masks); called once before fit."""

    def driving_share(self) -> Tensor | None:
        """Mean share of the expressions that a part depends on, in [0, 1], where that is learned; or None."""
        return None

    def set_hard(self, hard: bool) -> None:
        """Stage 1 (hard: each point belongs to one part) or stage 2 (soft weights)."""

    def set_progress(self, progress: float) -> None:
        """Set scheduled values for a share of training in [0, 1]."""

    @abstractmethod
    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        """Deform positions ``[N, 3]`` in [0, 1] under the driving signals ``[F, D]`` of F frames.

        ``frame`` ``[N]`` int32 is the frame of each point, a row of ``driving``.
        """


def dense_part_weights(weights: Tensor, index: Tensor, parts: int) -> Tensor:
    """Part weights ``[N, P]`` from those ``[N, k]`` of the parts ``index``; zero for all others."""
    return weights.new_zeros(len(weights), parts).scatter(1, index, weights)
