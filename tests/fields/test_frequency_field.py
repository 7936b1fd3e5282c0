"""The frequency field against its layers written out point by point."""

import torch
from torch.nn.functional import normalize, softplus

from partnerface.fields.encodings import frequency_encoding
from partnerface.fields.frequency_field import FrequencyField
from partnerface.fields.radiance_field import DENSITY_SCALE
from tests.contracts.radiance_field_contract import RadianceFieldContract


class TestFrequencyField(RadianceFieldContract):
    def make(self, appearance_width: int) -> FrequencyField:
        return FrequencyField(appearance_width, layers=2, hidden_width=16, position_frequencies=4)


def test_equals_its_layers_point_by_point():
    torch.manual_seed(0)
    field = FrequencyField(2, layers=3, hidden_width=12, position_frequencies=3, direction_frequencies=2)
    positions, views = torch.rand(5, 3), normalize(torch.randn(5, 3), dim=1)
    appearance = torch.randn(5, 2)
    density, rgb = field(positions, field.encode_directions(views), appearance)
    for n in range(5):
        feature = frequency_encoding(positions[n][None], 3)[0]
        for linear, _ in field.trunk:
            feature = (linear.weight @ feature + linear.bias).relu()
        raw = field.density_head.weight[0] @ feature + field.density_head.bias[0]
        torch.testing.assert_close(density[n], softplus(raw) * DENSITY_SCALE, atol=1e-4, rtol=1e-4)
        view = frequency_encoding((views[n][None] + 1) / 2, 2)[0]
        first, last = field.colour_head[0], field.colour_head[2]
        hidden = (first.weight @ torch.cat([feature, view, appearance[n]]) + first.bias).relu()
        torch.testing.assert_close(rgb[n], (last.weight @ hidden + last.bias).sigmoid(), atol=1e-5, rtol=1e-4)


def test_fresh_density_lets_a_millimetre_neither_saturate_nor_vanish():
    torch.manual_seed(0)
    opacity = 1 - torch.exp(-FrequencyField(0).density(torch.rand(1000, 3)) * 0.001)
    assert 0.03 < opacity.min() <= opacity.max() < 0.3
