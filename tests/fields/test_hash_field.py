"""The hash field: what depends on what, its precision, and the density it starts with."""

import pytest
import torch

from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.hash_field import CACHED_POINTS, HashField
from tests.contracts.radiance_field_contract import RadianceFieldContract

SMALL = {"levels": 3, "log2_table_size": 8, "finest": 64, "hidden_width": 16}


class TestHashField(RadianceFieldContract):
    def make(self, appearance_width: int) -> HashField:
        return HashField(appearance_width, **SMALL)


class TestHashFieldWithConditionedDensity(RadianceFieldContract):
    def make(self, appearance_width: int) -> HashField:
        return HashField(appearance_width, condition_density=True, **SMALL)


def make_field(appearance_width: int, condition_density: bool = False) -> HashField:
    torch.manual_seed(0)
    field = HashField(appearance_width, condition_density=condition_density, **SMALL)
    torch.nn.init.normal_(field.grid.tables)
    return field


def inputs(count: int, appearance_width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    appearance = torch.randn(count, appearance_width, generator=generator) if appearance_width else None
    return torch.rand(count, 3, generator=generator), spherical_harmonics(directions), appearance


def test_density_depends_neither_on_direction_nor_on_appearance():
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
    density = HashField(0).density(torch.rand(1000, 3))
    opacity = 1 - torch.exp(-density * 0.001)
    assert 0.03 < opacity.min() <= opacity.max() < 0.3


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
def test_heads_in_half_precision_give_nearly_the_same_in_float32(kind):
    field = make_field(4)
    positions, directions, appearance = inputs(500, 4)
    exact = field(positions, directions, appearance)
    field.network_type = kind
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
