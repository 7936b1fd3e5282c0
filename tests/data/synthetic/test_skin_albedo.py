"""Brows and skin tone."""

import torch

from partnerface.data.synthetic.skin_albedo import brow_coverage, skin_albedo
from partnerface.data.synthetic.subject import SUBJECTS


def test_brows_lie_above_the_eyes_on_both_sides():
    x = torch.linspace(-0.08, 0.08, 321)
    y = torch.linspace(-0.05, 0.06, 221)
    grid = torch.stack(torch.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    cover = brow_coverage(torch.cat([grid, torch.full((len(grid), 1), 0.02)], 1))
    hairy = grid[cover > 0.5]
    assert (hairy[:, 1] > 0.008).all()
    assert (hairy[:, 1] < 0.032).all()
    assert abs(float(hairy[:, 0].mean())) < 1e-3
    assert (hairy[:, 0].abs() > 0.008).all()


def test_cheeks_are_redder_than_the_forehead_and_lips_take_over():
    places = torch.tensor([[0.040, -0.038, 0.02], [0.0, 0.035, 0.026], [0.0, -0.07, 0.035]])
    jitter = 0.004 * torch.randn(400, 1, 3, generator=torch.Generator().manual_seed(0))
    points = (places + jitter).reshape(-1, 3)
    lips = torch.tensor([0.0, 0.0, 1.0]).repeat(400)
    albedo = skin_albedo(points, lips, SUBJECTS["b"]).reshape(400, 3, 3).mean(0)
    redness = albedo[:, 0] / albedo[:, 1]
    assert redness[0] > redness[1] + 0.05
    torch.testing.assert_close(albedo[2], torch.tensor(SUBJECTS["b"].lips), atol=0.02, rtol=0)
