import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from partnerface.evaluation.lpips import enlarged
from partnerface.evaluation.multi_scale_ssim import multi_scale_ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def images(height, width, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.linspace(0, 9, height)[:, None], torch.linspace(0, 7, width)
    target = (0.5 + 0.4 * torch.sin(rows) * torch.cos(columns)).expand(3, -1, -1)
    render = (target + noise * torch.randn(3, height, width, generator=generator)).clamp(0, 1)
    return render[None], target[None]


def by_scipy(first: np.ndarray, second: np.ndarray) -> float:
    """Wang, Simoncelli, Bovik 2003, equation 7, scale by scale; windows that stick out are left out of the
    contrast terms."""

    def mean(image):
        return gaussian_filter(image, (0, 1.5, 1.5), truncate=3.5, mode="mirror")

    value = 1.0
    for scale, weight in enumerate(WEIGHTS):
        mu1, mu2 = mean(first), mean(second)
        var1, var2, cov = (
            mean(first**2) - mu1**2,
            mean(second**2) - mu2**2,
            mean(first * second) - mu1 * mu2,
        )
        contrast = (2 * cov + 0.03**2) / (var1 + var2 + 0.03**2)
        luminance = (2 * mu1 * mu2 + 0.01**2) / (mu1**2 + mu2**2 + 0.01**2)
        last = scale == len(WEIGHTS) - 1
        term = (luminance * contrast).mean() if last else contrast[:, 5:-5, 5:-5].mean()
        value *= max(term, 0.0) ** weight
        channels, height, width = first.shape
        first, second = (
            image[:, : height // 2 * 2, : width // 2 * 2]
            .reshape(channels, height // 2, 2, width // 2, 2)
            .mean((2, 4))
            for image in (first, second)
        )
    return value


@pytest.mark.parametrize("size", [(176, 176), (200, 260)])
def test_against_scipy(size):
    render, target = images(*size, 0.15)
    expected = by_scipy(render[0].double().numpy(), target[0].double().numpy())
    assert multi_scale_ssim(render, target).item() == pytest.approx(expected, abs=2e-4)
    assert expected < 0.95


def test_small_images_are_enlarged_and_tiny_ones_have_none():
    render, target = images(44, 60, 0.1)
    larger = multi_scale_ssim(enlarged(render, 176), enlarged(target, 176))
    assert multi_scale_ssim(render, target).item() == pytest.approx(larger.item())
    assert multi_scale_ssim(*images(43, 600, 0.1)).isnan().all()


def test_what_always_holds():
    render, target = images(128, 128, 0.1)
    assert multi_scale_ssim(target, target).item() == pytest.approx(1, abs=1e-5)
    found = [multi_scale_ssim(*images(128, 128, noise)).item() for noise in (0.02, 0.1, 0.3)]
    assert found == sorted(found, reverse=True)
    # A negative is no image of it: contrast terms below zero must not give NaN.
    assert multi_scale_ssim(1 - render, render).item() == pytest.approx(0, abs=1e-5)
