"""The matte term by hand."""

import pytest
import torch

from partnerface.losses.photometric import Matte


def test_mean_absolute_difference(make_pair):
    rendered, batch = make_pair()
    batch.alpha = torch.zeros(2, 6)
    batch.alpha[0, 0] = 1.0
    rendered.rays.opacity = torch.zeros(2, 6)
    rendered.rays.opacity[1, 5] = 0.4
    assert float(Matte()(rendered, batch)) == pytest.approx(1.4 / 12)
