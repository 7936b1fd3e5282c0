"""MLPs over frequency-encoded positions: FrequencyField in canonical space, ConditionedField of NeRFace."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.compute.ranges import Between
from partnerface.fields.encodings import frequency_encoding
from partnerface.fields.radiance_field import DENSITY_SCALE, RadianceField


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


INITIAL_BIAS = -3.0
"""A density of about 5 per metre before anything is learned: a head's depth of it is half transparent."""


class ConditionedField(nn.Module):
    """Density and colour of points in the rigid head frame (NeRFace, Gafni et al. 2021, section 3.2).

    The condition is the same for all points of a frame. It is concatenated to the encoded position at
    the input and at the skip; here it enters there as a bias, which is the same function and cheaper.

    Args:
        condition_width: length C of the condition.
        layers: hidden layers of the trunk.
        hidden_width: their width.
        skip: hidden layer at which the input enters once more.
        position_frequencies: octaves of the position encoding.
        direction_frequencies: octaves of the view direction's.
    """

    def __init__(
        self,
        condition_width: int,
        layers: int = 8,
        hidden_width: int = 256,
        skip: int = 4,
        position_frequencies: int = 10,
        direction_frequencies: int = 4,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.position_frequencies, self.direction_frequencies = position_frequencies, direction_frequencies
        position_width, direction_width = 3 + 6 * position_frequencies, 3 + 6 * direction_frequencies
        self.input_layer = nn.Linear(position_width, hidden_width)
        self.input_condition = nn.Linear(condition_width, hidden_width, bias=False)
        self.hidden_layers = nn.ModuleList([nn.Linear(hidden_width, hidden_width) for _ in range(layers - 1)])
        self.skip_position = nn.Linear(position_width, hidden_width, bias=False)
        self.skip_condition = nn.Linear(condition_width, hidden_width, bias=False)
        self.density_head = nn.Linear(hidden_width, 1)
        self.feature_layer = nn.Linear(hidden_width, hidden_width)
        self.colour_layer = nn.Linear(hidden_width + direction_width, hidden_width // 2)
        self.colour_head = nn.Linear(hidden_width // 2, 3)

    def forward(
        self, positions: Tensor, directions: Tensor, condition: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Density ``[R, S]`` per metre and rgb ``[R, S, 3]``.

        Args:
            positions: ``[R, S, 3]`` in [0, 1].
            directions: ``[R, 3]`` unit view directions in the rigid head frame.
            condition: ``[F, C]`` conditions of F frames.
            frame: ``[R]`` int32 frame of each ray.
        """
        count, samples = positions.shape[:2]
        encoded = frequency_encoding(positions.reshape(-1, 3), self.position_frequencies)

        def of_condition(layer: nn.Linear) -> Tensor:
            return layer(condition).index_select(0, frame).repeat_interleave(samples, 0)

        hidden = (self.input_layer(encoded) + of_condition(self.input_condition)).relu()
        for number, layer in enumerate(self.hidden_layers, 1):
            hidden = layer(hidden)
            if number == self.skip:
                hidden = hidden + self.skip_position(encoded) + of_condition(self.skip_condition)
            hidden = hidden.relu()
        raw = self.density_head(hidden)[:, 0].float()
        view = frequency_encoding((directions + 1) / 2, self.direction_frequencies)
        view = view.repeat_interleave(samples, 0)
        colour = self.colour_layer(torch.cat([self.feature_layer(hidden), view], 1)).relu()
        rgb = self.colour_head(colour).float().sigmoid()
        density = functional.softplus(raw + INITIAL_BIAS) * DENSITY_SCALE
        return density.view(count, samples), rgb.view(count, samples, 3)
