"""HashField: the canonical radiance field, a hash grid with small density and colour heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.fields.hash_grid import HashGrid

DENSITY_SCALE = 100.0
"""Densities are of the order of 100 per metre before anything is learned, so that a step of a
millimetre neither saturates nor vanishes at initialisation."""


class HashField(nn.Module):
    """Density and colour of canonical points.

    Args:
        levels: resolutions of the hash grid.
        log2_table_size: entries of each table, as a power of two.
        finest: cells along an axis at the finest level.
        hidden_width: width of the hidden layer of both heads.
        appearance_width: width of the appearance code that the deformation adds to the colour head.
    """

    def __init__(
        self,
        levels: int = 8,
        log2_table_size: int = 15,
        finest: int = 384,
        hidden_width: int = 64,
        appearance_width: int = 0,
    ) -> None:
        super().__init__()
        self.grid = HashGrid(levels, log2_table_size, finest=finest)
        self.appearance_width = appearance_width
        self.density_head = nn.Sequential(
            nn.Linear(self.grid.width, hidden_width), nn.ReLU(), nn.Linear(hidden_width, 16)
        )
        self.colour_head = nn.Sequential(
            nn.Linear(15 + 16 + appearance_width, hidden_width), nn.ReLU(), nn.Linear(hidden_width, 3)
        )

    def density(self, positions: Tensor) -> Tensor:
        """``[N]`` density per metre at positions ``[N, 3]`` in [0, 1]."""
        return functional.softplus(self.density_head(self.grid(positions))[:, 0]) * DENSITY_SCALE

    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Density ``[N]`` per metre and rgb ``[N, 3]``.

        Args:
            positions: ``[N, 3]`` canonical points in [0, 1].
            directions: ``[N, 16]`` spherical harmonics of the view direction in the head's frame.
            appearance: ``[N, appearance_width]`` or None where that width is 0.
        """
        raw_density, feature = self.density_head(self.grid(positions)).split([1, 15], 1)
        inputs = [feature, directions]
        if self.appearance_width:
            inputs.append(appearance)
        rgb = torch.sigmoid(self.colour_head(torch.cat(inputs, 1)))
        return functional.softplus(raw_density[:, 0]) * DENSITY_SCALE, rgb
