"""CanonicalHead: what a deformation may know of the person before training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from partnerface.head_models.head_model import HeadModel


@dataclass
class CanonicalHead:
    """A person's head in canonical space, and how it moves in training.

    Attributes:
        head_model: gives the expression basis, the landmarks and the named regions.
        vertices: ``[V, 3]`` canonical vertices, metres.
        used: ``[U]`` the vertices of the volumetric head: no torso, no lashes.
        expression: ``[F, E]`` training expressions.
        low: ``[3]`` lowest corner of the canonical cube, metres.
        extent: its side, metres.
    """

    head_model: HeadModel
    vertices: Tensor
    used: Tensor
    expression: Tensor
    low: Tensor
    extent: Tensor

    def in_cube(self, points: Tensor) -> Tensor:
        """Canonical points ``[N, 3]`` in metres as positions in [0, 1] of the canonical cube."""
        return (points - self.low) / self.extent
