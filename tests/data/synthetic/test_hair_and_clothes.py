"""Hair grows on the scalp and at the temples, not on the face or the ears."""

import pytest
import torch

from partnerface.data.synthetic.hair_and_clothes import (
    CLOTH_THICKNESS,
    STRIPE_PERIOD,
    hair_coverage,
    hair_thickness,
    shirt_albedo,
    shirt_coverage,
    shirt_thickness,
)
from partnerface.data.synthetic.subject import SUBJECTS

PLACES = {
    "crown": (0.0, 0.117, -0.06, True),
    "back": (0.0, 0.03, -0.20, True),
    "temple": (0.068, 0.035, -0.045, True),
    "forehead": (0.0, 0.030, 0.026, False),
    "cheek": (0.050, -0.040, 0.0, False),
    "chin": (0.0, -0.118, 0.004, False),
    "ear": (0.080, -0.012, -0.085, False),
    "throat": (0.0, -0.15, -0.04, False),
}


@pytest.mark.parametrize("style", [s.hair_style for s in SUBJECTS.values()])
@pytest.mark.parametrize("place", PLACES)
def test_places(style, place):
    *point, hairy = PLACES[place]
    for side in (1.0, -1.0):
        points = torch.tensor([[side * point[0], point[1], point[2]]])
        assert float(hair_coverage(points, style)) == float(hairy)
        if not hairy:
            assert float(hair_thickness(points, style)) == 0


def test_thickness_is_bounded_by_the_style():
    style = SUBJECTS["b"].hair_style
    points = (torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.3
    thickness = hair_thickness(points, style)
    assert thickness.min() >= 0
    assert thickness.max() <= style.volume + style.lumpiness


def test_covers_the_bust_and_not_the_head():
    bust = torch.tensor([[0.0, -0.30, 0.0], [0.18, -0.24, -0.10], [-0.18, -0.24, -0.10]])
    head = torch.tensor([[0.0, 0.0, 0.0], [0.0, -0.118, 0.0], [0.06, -0.05, -0.1]])
    assert shirt_coverage(bust).tolist() == [1, 1, 1]
    assert shirt_coverage(head).tolist() == [0, 0, 0]
    assert shirt_thickness(head).max() == 0
    assert (shirt_thickness(bust) - CLOTH_THICKNESS).abs().max() <= 0.0015 + 1e-9


def test_stripes_repeat():
    y = torch.arange(2000) * (-0.4 / 2000)
    column = torch.stack([torch.zeros_like(y), y, torch.zeros_like(y)], 1)
    bright = shirt_albedo(column, SUBJECTS["a"])[:, 0] > 0.45
    starts = (bright[1:] & ~bright[:-1]).nonzero()[:, 0]
    spacing = (y[starts[:-1]] - y[starts[1:]]).mean()
    assert float(spacing) == pytest.approx(STRIPE_PERIOD, rel=0.03)
