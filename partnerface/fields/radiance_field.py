"""RadianceField: the interface of canonical radiance fields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from partnerface.compute.chunks import POINTS_AT_ONCE, in_pieces

DENSITY_SCALE = 100.0
"""Densities are of the order of 100 per metre before anything is learned, so that a step of a
millimetre neither saturates nor vanishes at initialisation."""


class RadianceField(nn.Module, ABC):
    """Density and colour of canonical points.

    Constructors take the length of the appearance code first: an avatar makes its field by calling it with
    that number.

    Attributes:
        appearance_width: length A of the appearance code that the field is conditioned on, 0 for none. Layers
            take it as their last inputs: `start_from` relies on it where an avatar had none before.
        network_type: that its networks are evaluated in.
    """

    appearance_width: int = 0
    network_type: torch.dtype = torch.float32

    def grid_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that take the learning rate of grids (hash tables, feature planes); none by default."""
        return ()

    def encode_directions(self, directions: Tensor) -> Tensor:
        """Encode unit view directions ``[R, 3]`` once a ray, as ``[R, C]``; unchanged by default."""
        return directions

    @abstractmethod
    def density(self, positions: Tensor) -> Tensor:
        """Density ``[N]`` per metre at positions ``[N, 3]`` in [0, 1], under an appearance code of zero."""

    @abstractmethod
    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Density ``[N]`` per metre and rgb ``[N, 3]`` in [0, 1].

        Args:
            positions: ``[N, 3]`` canonical points in [0, 1] of the canonical cube.
            directions: ``[N, C]`` view directions in the head's frame, as `encode_directions` gives them.
            appearance: ``[N, A]`` appearance code, or None where A is 0.
        """

    def in_pieces(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`forward`; without gradients on a GPU `POINTS_AT_ONCE` at a time, so that memory stays small."""

        def joined(pieces: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
            densities, colours = zip(*pieces, strict=True)
            return torch.cat(densities), torch.cat(colours)

        return in_pieces(self, joined, positions, directions, appearance, most=POINTS_AT_ONCE)
