"""The radiance field: ranges, what depends on what, and gradients."""

import pytest
import torch

from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.hash_field import CACHED_POINTS, HashField


def make_field(appearance_width: int, condition_density: bool = False) -> HashField:
    torch.manual_seed(0)
    field = HashField(
        levels=3,
        log2_table_size=8,
        finest=64,
        hidden_width=16,
        appearance_width=appearance_width,
        condition_density=condition_density,
    )
    torch.nn.init.normal_(field.grid.tables)
    return field


def inputs(count: int, appearance_width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    appearance = torch.randn(count, appearance_width, generator=generator) if appearance_width else None
    return torch.rand(count, 3, generator=generator), spherical_harmonics(directions), appearance


@pytest.mark.parametrize("appearance_width", [0, 4])
def test_density_is_positive_and_colour_in_range(appearance_width):
    field = make_field(appearance_width)
    positions, directions, appearance = inputs(500, appearance_width)
    density, rgb = field(positions, directions, appearance)
    assert density.shape == (500,)
    assert rgb.shape == (500, 3)
    assert (density > 0).all()
    assert ((rgb > 0) & (rgb < 1)).all()
    torch.testing.assert_close(density, field.density(positions))


def test_density_knows_neither_direction_nor_appearance():
    field = make_field(4)
    positions, directions, appearance = inputs(50, 4)
    density, rgb = field(positions, directions, appearance)
    other_density, other_rgb = field(positions, directions.flip(0), appearance + 1)
    assert torch.equal(density, other_density)
    assert ((rgb - other_rgb).abs().amax(1) > 1e-4).all()


def test_conditioned_density_follows_the_code_and_without_one_is_that_of_zero():
    field = make_field(4, condition_density=True)
    positions, directions, appearance = inputs(50, 4)
    density, _ = field(positions, directions, appearance)
    other, _ = field(positions, directions, appearance + 1)
    assert ((density - other).abs() > 1e-4).all()
    neutral, _ = field(positions, directions, torch.zeros_like(appearance))
    torch.testing.assert_close(field.density(positions), neutral)
    density.sum().backward()
    assert field.density_head[0].weight.grad[:, -4:].any()


def test_fresh_density_lets_a_millimetre_neither_saturate_nor_vanish():
    torch.manual_seed(0)
    density = HashField().density(torch.rand(1000, 3))
    opacity = 1 - torch.exp(-density * 0.001)
    assert 0.03 < opacity.min() <= opacity.max() < 0.3


@pytest.mark.parametrize("appearance_width", [0, 4])
def test_gradient_reaches_every_weight_and_the_positions(appearance_width):
    field = make_field(appearance_width)
    positions, directions, appearance = inputs(200, appearance_width)
    positions.requires_grad_()
    density, rgb = field(positions, directions, appearance)
    (density.mean() + rgb.sum()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert (positions.grad.abs().sum(1) > 0).all()


def test_no_points():
    field = make_field(0)
    density, rgb = field(*inputs(0, 0))
    (density.sum() + rgb.sum()).backward()
    assert density.shape == (0,)
    assert rgb.shape == (0, 3)
    assert field.density(torch.zeros(0, 3)).shape == (0,)


def test_bfloat16_heads_give_nearly_the_same_in_float32():
    field = make_field(4)
    positions, directions, appearance = inputs(500, 4)
    exact = field(positions, directions, appearance)
    field.bfloat16 = True
    rough = field(positions, directions, appearance)
    for value, reference in zip(rough, exact, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, reference, rtol=0.05, atol=0.02)
    assert not torch.equal(rough[1], exact[1])
    torch.testing.assert_close(field.density(positions), rough[0])


@pytest.mark.parametrize("appearance_width", [0, 4])
def test_a_picture_in_pieces_is_what_training_would_see(appearance_width):
    field = make_field(appearance_width)
    several = inputs(2 * CACHED_POINTS + 5, appearance_width)
    whole = field(*several)
    with torch.no_grad():
        pieces = field(*several)
    for value, reference in zip(pieces, whole, strict=True):
        torch.testing.assert_close(value, reference)
