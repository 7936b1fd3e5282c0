"""The field is the published one: a condition concatenated at the input and at the skip."""

import pytest
import torch
from torch.nn.functional import normalize, softplus

from partnerface.fields.encodings import frequency_encoding
from partnerface.fields.frequency_field import INITIAL_BIAS, ConditionedField
from partnerface.fields.radiance_field import DENSITY_SCALE


@pytest.fixture
def field() -> ConditionedField:
    torch.manual_seed(0)
    return ConditionedField(condition_width=5, layers=6, hidden_width=24, skip=3)


def _inputs(rays: int = 3, samples: int = 4) -> tuple[torch.Tensor, ...]:
    """Rays of two frames in turns, each frame with its condition."""
    generator = torch.Generator().manual_seed(1)
    positions = torch.rand(rays, samples, 3, generator=generator)
    directions = normalize(torch.randn(rays, 3, generator=generator), dim=1)
    condition, frame = torch.randn(2, 5, generator=generator), (torch.arange(rays) % 2).int()
    return positions, directions, condition, frame


def test_equals_the_concatenated_form_point_by_point(field):
    positions, directions, condition, frame = _inputs()
    density, rgb = field(positions, directions, condition, frame)
    first = torch.cat([field.input_layer.weight, field.input_condition.weight], 1)
    third = field.hidden_layers[2]
    skip = torch.cat([third.weight, field.skip_position.weight, field.skip_condition.weight], 1)
    for r in range(3):
        for s in range(4):
            x = torch.cat([frequency_encoding(positions[r, s][None], 10)[0], condition[frame[r]]])
            hidden = (first @ x + field.input_layer.bias).relu()
            for number, layer in enumerate(field.hidden_layers, 1):
                if number == 3:
                    hidden = (skip @ torch.cat([hidden, x]) + layer.bias).relu()
                else:
                    hidden = layer(hidden).relu()
            expected = softplus(field.density_head(hidden)[0] + INITIAL_BIAS) * DENSITY_SCALE
            view = frequency_encoding((directions[r][None] + 1) / 2, 4)[0]
            colour = field.colour_layer(torch.cat([field.feature_layer(hidden), view])).relu()
            torch.testing.assert_close(density[r, s], expected, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(rgb[r, s], field.colour_head(colour).sigmoid(), atol=1e-5, rtol=1e-4)


def test_depends_on_every_entry_of_the_condition(field):
    positions, directions, condition, frame = _inputs()
    condition.requires_grad_()
    density, rgb = field(positions, directions, condition, frame)
    (density.sum() / DENSITY_SCALE + rgb.sum()).backward()
    assert (condition.grad.abs() > 1e-7).all()


def test_density_does_not_depend_on_the_view(field):
    positions, directions, *condition = _inputs()
    density, rgb = field(positions, directions, *condition)
    turned_density, turned_rgb = field(positions, -directions, *condition)
    assert torch.equal(density, turned_density)
    assert not torch.allclose(rgb, turned_rgb)


def test_no_ray_at_all(field):
    none = torch.zeros(0, dtype=torch.int32)
    density, rgb = field(torch.zeros(0, 4, 3), torch.zeros(0, 3), torch.zeros(2, 5), none)
    assert density.shape == (0, 4)
    assert rgb.shape == (0, 4, 3)
