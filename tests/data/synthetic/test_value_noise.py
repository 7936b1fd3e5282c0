"""Value noise: interpolates its lattice, is bounded, smooth and repeatable."""

import torch

from partnerface.data.synthetic.value_noise import smooth_step, value_noise


def test_midpoint_is_the_mean_of_its_corners():
    corners = torch.tensor([[float(x), float(y), float(z)] for x in (4, 5) for y in (-3, -2) for z in (0, 1)])
    at_corners = value_noise(corners, 3)
    assert at_corners.std() > 0.1
    torch.testing.assert_close(value_noise(corners.mean(0, keepdim=True), 3)[0], at_corners.mean())


def test_bounded_continuous_and_seeded():
    points = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * 50
    noise = value_noise(points, 1)
    assert noise.abs().max() <= 1
    assert noise.std() > 0.2
    # The smooth step's slope is at most 1.5, and neighbours differ by at most 2.
    step = 1e-3
    assert (value_noise(points + step, 1) - noise).abs().max() < 3 * 1.5 * 2 * step * 1.1
    assert torch.equal(noise, value_noise(points, 1))
    assert not torch.allclose(noise, value_noise(points, 2))


def test_smooth_step_rises_and_falls():
    values = torch.tensor([-1.0, 0.0, 0.25, 0.5, 1.0, 7.0])
    expected = torch.tensor([0.0, 0.0, 0.15625, 0.5, 1.0, 1.0])
    torch.testing.assert_close(smooth_step(0.0, 1.0, values), expected)
    torch.testing.assert_close(smooth_step(1.0, 0.0, values), 1 - expected)
