"""The shirt covers shoulders and chest, with stripes of the stated period."""

import pytest
import torch

from partnerface.data.synthetic.clothing import (
    CLOTH_THICKNESS,
    STRIPE_PERIOD,
    shirt_albedo,
    shirt_coverage,
    shirt_thickness,
)
from partnerface.data.synthetic.subject import SUBJECTS


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
