"""The lit field: one light for all points, which fades in creases and does not follow the view."""

import pytest
import torch
from torch.nn.functional import normalize

from partnerface.errors import UserError
from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.lit_field import SHAPE_WIDTH, LitField
from partnerface.fields.radiance_field import RadianceField
from tests.contracts.radiance_field_contract import RadianceFieldContract
from tests.contracts.subjects import disturb

SMALL = {"levels": 3, "log2_table_size": 8, "finest": 64, "hidden_width": 16}


class TestLitField(RadianceFieldContract):
    def make(self, appearance_width: int) -> LitField:
        return LitField(appearance_width, **SMALL)

    @pytest.fixture(params=[SHAPE_WIDTH, SHAPE_WIDTH + 3], ids=["without code", "with code"])
    def field(self, request) -> RadianceField:
        torch.manual_seed(0)
        made = self.make(request.param)
        disturb(made, 0.3)
        return made


@pytest.fixture
def field() -> LitField:
    torch.manual_seed(0)
    made = LitField(SHAPE_WIDTH, **SMALL)
    disturb(made, 0.2)
    with torch.no_grad():
        made.gloss_head.bias.fill_(-50)  # no gloss
    return made


def coloured(field: LitField, normals: torch.Tensor, relief: float) -> torch.Tensor:
    """``[N, 3]`` colours of points under these normals."""
    shape = torch.cat([normals, torch.full((len(normals), 1), relief)], 1)
    positions = torch.rand(len(normals), 3, generator=torch.Generator().manual_seed(3))
    directions = field.encode_directions(torch.eye(3)[:1].expand(len(normals), 3))
    return field(positions, directions, shape)[1]


def some_normals(count: int = 40) -> torch.Tensor:
    return normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(2)), dim=1)


def test_two_points_have_the_same_ratio_of_colours_under_any_two_normals(field):
    """What an albedo under one light means."""
    first, second = some_normals(2)
    colours = [coloured(field, normal.expand(40, 3), 0.0) for normal in (first, second)]
    inside = (torch.cat(colours, 1) < 0.999).all(1)
    assert inside.sum() > 10
    ratio = (colours[0] / colours[1])[inside]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), atol=1e-4, rtol=1e-4)
    assert (ratio[0] - 1).abs().max() > 0.01


def test_light_fades_exponentially_in_creases_and_not_on_bulges(field):
    with torch.no_grad():
        field.colour_head[2].bias.fill_(-4)  # dark enough that no colour is clipped
    flat, bulge, crease, deeper = (coloured(field, some_normals(), d) for d in (0.0, 3.0, -3.0, -5.0))
    torch.testing.assert_close(
        deeper / crease, torch.full_like(flat, -2).mul(field.occlusion).exp(), rtol=1e-3, atol=0
    )
    assert (crease < 0.6 * flat).all()
    torch.testing.assert_close(bulge, flat, rtol=0.05, atol=0)


def test_no_direction_has_an_effect_of_its_own(field):
    rays = some_normals(9)
    encoded = field.encode_directions(rays)
    assert encoded.shape == spherical_harmonics(rays).shape
    assert torch.equal(encoded, encoded[:1].expand_as(encoded))


@pytest.mark.parametrize("width", [0, 3])
def test_an_avatar_without_normals_is_refused_in_one_line(width):
    with pytest.raises(UserError, match="shading=true"):
        LitField(width, **SMALL)
