"""Teeth have gaps at the stated spacing; every inner part of the head model has a colour."""

import torch

from partnerface.data.synthetic.mouth_albedo import (
    ENAMEL,
    FLAT_ALBEDO,
    TOOTH_WIDTH,
    flat_albedo,
    teeth_albedo,
)
from partnerface.head_models.anny import AnnyHead


def test_gaps():
    x = torch.linspace(-2 * TOOTH_WIDTH, 2 * TOOTH_WIDTH, 401)
    column = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], 1)
    dark = teeth_albedo(column)[:, 0] < 0.8 * ENAMEL[0]
    middles = torch.arange(-2, 3) * TOOTH_WIDTH
    assert dark[(x[:, None] - middles).abs().argmin(0)].all()
    assert 0.05 < dark.float().mean() < 0.35


def test_every_part_has_an_albedo():
    painted = {"skin", "eye_left", "eye_right", "teeth_upper", "teeth_lower", *FLAT_ALBEDO}
    assert set(AnnyHead().asset.part_names) <= painted
    for name, colour in FLAT_ALBEDO.items():
        points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(flat_albedo(name, points).mean(0), torch.tensor(colour), atol=0.02, rtol=0)
