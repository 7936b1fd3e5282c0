"""The photometric term by hand."""

import pytest
import torch

from partnerface.losses.photometric import Photometric


def test_square_below_and_linear_above_delta(make_pair):
    rendered, batch = make_pair()
    batch.loss_weight = torch.tensor([[1.0, 3.0, 0, 0, 0, 0], [0.0] * 6])
    with torch.no_grad():
        rendered.rays.rgb[0, 0] += torch.tensor([0.04, -0.04, 0.04])
        rendered.rays.rgb[0, 1] += torch.tensor([0.5, 0.0, 0.0])
        rendered.rays.rgb[1] += 9.0
    small, large = 0.5 * 0.04**2, 0.1 * (0.5 - 0.05) / 3
    assert float(Photometric(delta=0.1)(rendered, batch)) == pytest.approx((small + 3 * large) / 4, rel=1e-4)


def test_wrong_opacity_shows_the_background(make_pair):
    """A rendering that lacks opacity and colour is off by matte times (background - colour)."""
    rendered, batch = make_pair()
    batch.loss_weight = torch.ones(2, 6)
    with torch.no_grad():
        rendered.rays.rgb.zero_()
        rendered.rays.opacity.zero_()
    error = (batch.alpha[..., None] * (batch.background - batch.rgb)).abs()
    expected = torch.where(error < 0.1, 0.5 * error**2, 0.1 * (error - 0.05)).mean()
    assert float(Photometric()(rendered, batch)) == pytest.approx(float(expected), rel=1e-4)


def test_the_scale_of_the_weights_does_not_matter_and_none_gives_zero(make_pair):
    rendered, batch = make_pair()
    with torch.no_grad():
        rendered.rays.rgb += 0.2
    term = Photometric()
    before = float(term(rendered, batch))
    batch.loss_weight = batch.loss_weight * 50
    assert float(term(rendered, batch)) == pytest.approx(before, rel=1e-5)
    batch.loss_weight = torch.zeros(2, 6)
    loss = term(rendered, batch)
    loss.backward()
    assert float(loss) == 0
    assert not rendered.rays.rgb.grad.any()
