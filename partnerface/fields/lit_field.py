"""LitField: a hash field whose colours are an albedo under a learned light."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.compute.network_types import evaluated_in
from partnerface.compute.ranges import Between
from partnerface.errors import UserError
from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.hash_field import HashField
from partnerface.fields.radiance_field import DENSITY_SCALE

SHAPE_WIDTH = 4
"""Columns of the shape of the skin: a unit normal and a relief."""

OCCLUSION = 0.3
"""Light that a relief of minus one millimetre loses at the start of training, as an exponent."""

ROUNDING = 0.1
"""Millimetres around a relief of zero within which the loss of light sets in."""

LIGHT_HIDDEN_WIDTH = 32


class LitField(HashField):
    """Albedo of the canonical point, times the light that falls on skin that faces as it does in the frame.

    One light for all points and frames: a small network of the normal in camera axes, as PointAvatar shades
    (Zheng et al. 2023), with a gloss that each point takes a share of. The turning head teaches it. In
    creases the light fades with the relief. The light stays with the camera, so that the
    view direction has no effect of its own.

    Args:
        appearance_width: columns of what the colour is conditioned on: normal and relief (see
            `surface_shape`), then the deformation's appearance code.
        levels: see `HashField`, like all others.
        log2_table_size: entries of each table, as a power of two.
        finest: cells along an axis at the finest level.
        hidden_width: width of the hidden layer of both heads.
        bfloat16: evaluate the networks in bfloat16.
        float16: evaluate them in float16.

    Raises:
        UserError: the avatar gives no normals.
    """

    def __init__(
        self,
        appearance_width: int,
        levels: Between[int, 1, 32] = 8,
        log2_table_size: Between[int, 1, 24] = 15,
        finest: Between[int, 1, 65_536] = 384,
        hidden_width: Between[int, 1, 4096] = 64,
        bfloat16: bool = False,
        float16: bool = False,
    ) -> None:
        if appearance_width < SHAPE_WIDTH:
            raise UserError(
                "LitField shades by the skin's normals: give --model.avatar.init_args.shading=true"
            )
        code_width = appearance_width - SHAPE_WIDTH
        super().__init__(code_width, levels, log2_table_size, finest, hidden_width, bfloat16, float16=float16)
        self.appearance_width = appearance_width
        self.gloss_head = nn.Linear(15, 1)
        self.light = nn.Sequential(
            nn.Linear(16, LIGHT_HIDDEN_WIDTH), nn.ReLU(), nn.Linear(LIGHT_HIDDEN_WIDTH, 4)
        )
        self.occlusion = nn.Parameter(torch.tensor(OCCLUSION))

    def encode_directions(self, directions: Tensor) -> Tensor:
        """The harmonic of degree 0 of ``[R, 3]``: no direction has an effect."""
        constant = torch.zeros_like(directions[:, :1]).expand(-1, 15)
        return torch.cat([spherical_harmonics(directions)[:, :1], constant], 1)

    def _evaluated(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert appearance is not None
        normal, relief, code = appearance.split([3, 1, appearance.shape[1] - SHAPE_WIDTH], 1)
        encoded = self.grid(positions)
        with evaluated_in(self.network_type, positions.device):
            raw_density, feature = self.density_head(encoded).split([1, 15], 1)
            raw_albedo = self.colour_head(torch.cat([feature, directions, code], 1))
            raw_gloss = self.gloss_head(feature)
            diffuse, lobe = self.light(spherical_harmonics(normal)).split([3, 1], 1)
        # Below zero the relief itself, above it nothing, with a soft bend between them.
        hollow = 0.5 * (relief - (relief.square() + ROUNDING**2).sqrt() + ROUNDING)
        light = 2 * torch.sigmoid(diffuse.float()) * torch.exp(self.occlusion * hollow)
        gloss = torch.sigmoid(raw_gloss.float()) * torch.sigmoid(lobe.float() - 3)
        rgb = torch.sigmoid(raw_albedo.float()) * light + gloss
        # What is too bright is shown white and still learns to be darker.
        rgb = rgb + (rgb.clamp(0, 1) - rgb).detach()
        return functional.softplus(raw_density[:, 0].float()) * DENSITY_SCALE, rgb
