"""FrequencyField: a radiance field as one MLP over sines and cosines of the position."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.fields.encodings import frequency_encoding
from partnerface.fields.radiance_field import RadianceField

DENSITY_SCALE = 100.0
"""Densities are of the order of 100 per metre before anything is learned."""


class FrequencyField(RadianceField):
    """A frequency-encoded MLP (NeRF, Mildenhall et al. 2020, section 5.1). Slower than `HashField` by far.

    Args:
        appearance_width: length of the appearance code that the colour is conditioned on.
        layers: hidden layers of the trunk.
        hidden_width: their width.
        position_frequencies: octaves of the position encoding.
        direction_frequencies: octaves of the view direction's.
    """

    def __init__(
        self,
        appearance_width: int,
        layers: Between[int, 1, 64] = 4,
        hidden_width: Between[int, 1, 4096] = 128,
        position_frequencies: Between[int, 0, 16] = 8,
        direction_frequencies: Between[int, 0, 16] = 4,
    ) -> None:
        super().__init__()
        self.appearance_width = appearance_width
        self.position_frequencies, self.direction_frequencies = position_frequencies, direction_frequencies
        widths = [3 + 6 * position_frequencies] + layers * [hidden_width]
        layer = (nn.Sequential(nn.Linear(*pair), nn.ReLU(inplace=True)) for pair in pairwise(widths))
        self.trunk = nn.Sequential(*layer)
        self.density_head = nn.Linear(hidden_width, 1)
        self.colour_head = nn.Sequential(
            nn.Linear(hidden_width + 3 + 6 * direction_frequencies + appearance_width, hidden_width // 2),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_width // 2, 3),
        )

    def encode_directions(self, directions: Tensor) -> Tensor:
        return frequency_encoding((directions + 1) / 2, self.direction_frequencies)

    def density(self, positions: Tensor) -> Tensor:
        return self._density(self.trunk(frequency_encoding(positions, self.position_frequencies)))

    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        feature = self.trunk(frequency_encoding(positions, self.position_frequencies))
        inputs = [feature, directions] + ([] if appearance is None else [appearance])
        return self._density(feature), self.colour_head(torch.cat(inputs, 1)).sigmoid()

    def _density(self, feature: Tensor) -> Tensor:
        return functional.softplus(self.density_head(feature)[:, 0]) * DENSITY_SCALE
