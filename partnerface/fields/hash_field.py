"""HashField: the canonical radiance field, a hash grid with small density and colour heads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.hash_grid import HashGrid
from partnerface.fields.radiance_field import DENSITY_SCALE, RadianceField

CACHED_POINTS = 4096
"""Points of a picture that a CPU core evaluates at once: their activations stay in its cache."""


class HashField(RadianceField):
    """A multiresolution hash grid with small density and colour heads (Instant-NGP, Mueller et al. 2022).

    Args:
        appearance_width: length of the appearance code that the colour head is conditioned on.
        levels: resolutions of the hash grid.
        log2_table_size: entries of each table, as a power of two.
        finest: cells along an axis at the finest level.
        hidden_width: width of the hidden layer of both heads.
        condition_density: condition the density head on the appearance code as well.
        bfloat16: evaluate the heads in bfloat16; grid and compositing stay in float32. It pays on a GPU.
    """

    def __init__(
        self,
        appearance_width: int,
        levels: Between[int, 1, 32] = 8,
        log2_table_size: Between[int, 1, 24] = 15,
        finest: Between[int, 1, 65_536] = 384,
        hidden_width: Between[int, 1, 4096] = 64,
        bfloat16: bool = False,
        condition_density: bool = False,
    ) -> None:
        super().__init__()
        self.use_bfloat16 = bfloat16
        self.density_code_width = appearance_width if condition_density else 0
        self.grid = HashGrid(levels, log2_table_size, finest=finest)
        self.appearance_width = appearance_width
        self.density_head = nn.Sequential(
            nn.Linear(self.grid.width + self.density_code_width, hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, 16),
        )
        self.colour_head = nn.Sequential(
            nn.Linear(15 + 16 + appearance_width, hidden_width), nn.ReLU(), nn.Linear(hidden_width, 3)
        )

    def grid_parameters(self) -> Iterable[nn.Parameter]:
        return self.grid.parameters()

    def encode_directions(self, directions: Tensor) -> Tensor:
        """The first 16 spherical harmonics of ``[R, 3]``."""
        return spherical_harmonics(directions)

    def density(self, positions: Tensor) -> Tensor:
        encoded = self.grid(positions)
        if self.density_code_width:
            encoded = functional.pad(encoded, (0, self.density_code_width))
        with self._head_precision(positions):
            raw_density = self.density_head(encoded)[:, 0]
        return functional.softplus(raw_density.float()) * DENSITY_SCALE

    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if positions.device.type != "cpu" or torch.is_grad_enabled() or len(positions) <= CACHED_POINTS:
            return self._evaluated(positions, directions, appearance)
        count = len(positions)
        density, rgb = positions.new_empty(count), positions.new_empty(count, 3)
        for first in range(0, count, CACHED_POINTS):
            piece = slice(first, first + CACHED_POINTS)
            code = None if appearance is None else appearance[piece]
            density[piece], rgb[piece] = self._evaluated(positions[piece], directions[piece], code)
        return density, rgb

    def _evaluated(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        encoded = self.grid(positions)
        if self.density_code_width and appearance is not None:
            encoded = torch.cat([encoded, appearance], 1)
        with self._head_precision(positions):
            raw_density, feature = self.density_head(encoded).split([1, 15], 1)
            inputs = [feature, directions]
            if appearance is not None:
                inputs.append(appearance)
            raw_rgb = self.colour_head(torch.cat(inputs, 1))
        density = functional.softplus(raw_density[:, 0].float()) * DENSITY_SCALE
        return density, torch.sigmoid(raw_rgb.float())

    def _head_precision(self, positions: Tensor) -> torch.autocast:
        return torch.autocast(positions.device.type, torch.bfloat16, enabled=self.use_bfloat16)
