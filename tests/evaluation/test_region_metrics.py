import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import peak_signal_noise_ratio

from partnerface.evaluation.region_metrics import METRICS, image_metrics, masked_metrics, psnr, ssim_map


def random_pair(height=40, width=48, noise=0.1):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, height, width, generator=generator)
    render = (target + noise * torch.randn(3, height, width, generator=generator)).clamp(0, 1)
    return render, target


def ssim_by_scipy(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Wang et al. 2004, equation 13, with Gaussian means; scipy's filter truncated at the same 5 pixels."""

    def mean(image):
        return gaussian_filter(image.astype(np.float64), (0, 1.5, 1.5), truncate=3.5, mode="mirror")

    c1, c2 = 0.01**2, 0.03**2
    mu1, mu2 = mean(first), mean(second)
    var1, var2, cov = mean(first**2) - mu1**2, mean(second**2) - mu2**2, mean(first * second) - mu1 * mu2
    return (2 * mu1 * mu2 + c1) * (2 * cov + c2) / ((mu1**2 + mu2**2 + c1) * (var1 + var2 + c2))


def test_ssim_map_against_scipy():
    render, target = random_pair()
    expected = ssim_by_scipy(render.numpy(), target.numpy())
    assert np.abs(ssim_map(render, target).numpy() - expected).max() < 1e-4


def test_whole_image_against_torchmetrics_and_hand():
    render, target = random_pair()
    values = image_metrics(render, target, ssim_map(render, target), None)
    assert values[0] == pytest.approx(
        float(peak_signal_noise_ratio(render, target, data_range=1.0)), abs=1e-4
    )
    assert values[METRICS.index("l1")] == pytest.approx(
        np.abs(render.numpy() - target.numpy()).mean(), rel=1e-5
    )
    assert values[METRICS.index("lpips")].isnan()
    assert values[METRICS.index("ms_ssim")].isnan()


def test_psnr_by_hand():
    # An error of 0.1 everywhere: 10 log10(1 / 0.01) = 20 dB.
    for error, expected in ((0.1**2, 20.0), (1.0, 0.0), (1e-7, 70.0), (1e-12, 100.0), (0.0, 100.0)):
        assert float(psnr(torch.tensor(error))) == pytest.approx(expected, abs=1e-3)


def test_mask_against_loops():
    render, target = random_pair()
    mask = torch.zeros(40, 48, dtype=torch.bool)
    mask[5:9, 30:40] = True
    mask[20, 3] = True
    similarity = ssim_by_scipy(render.numpy(), target.numpy())
    squared, absolute, local = [], [], []
    for y, x in mask.nonzero().tolist():
        for channel in range(3):
            error = float(render[channel, y, x] - target[channel, y, x])
            squared.append(error**2)
            absolute.append(abs(error))
            local.append(similarity[channel, y, x])
    values = masked_metrics(render, target, mask, ssim_map(render, target), None)
    assert values[0] == pytest.approx(-10 * np.log10(np.mean(squared)), abs=1e-4)
    assert values[1] == pytest.approx(np.mean(local), abs=1e-4)
    assert values[METRICS.index("l1")] == pytest.approx(np.mean(absolute), rel=1e-5)


def test_errors_outside_the_mask_do_not_count():
    _, target = random_pair()
    render = target.clone()
    render[:, :10] = 0
    mask = torch.zeros(40, 48, dtype=torch.bool)
    mask[20:30, 10:20] = True
    seen = []

    def lpips(first, second):
        seen.append((first, second))
        return (first - second).abs().mean((1, 2, 3))

    values = masked_metrics(render, target, mask, ssim_map(render, target), lpips, lpips)
    assert values.tolist() == pytest.approx([100, 1, 0, 0, 0], abs=1e-5)
    assert len(seen) == 2
    assert torch.equal(seen[0][1][0], target[:, 20:30, 10:20])


def test_lpips_sees_white_outside_the_mask():
    """A ring: its bounding box holds pixels that do not belong to it."""
    render, target = random_pair()
    mask = torch.zeros(40, 48, dtype=torch.bool)
    mask[10:20, 10:20] = True
    mask[13:17, 13:17] = False
    crops = []
    masked_metrics(
        render, target, mask, ssim_map(render, target), lambda a, b: crops.append((a, b)) or torch.zeros(1)
    )
    for crop, image in zip(crops[0], (render, target), strict=True):
        assert crop.shape == (1, 3, 10, 10)
        assert (crop[0, :, 3:7, 3:7] == 1).all()
        assert torch.equal(crop[0, :, :3], image[:, 10:13, 10:20])


def mean_squared(first, second):
    return (first - second).pow(2).mean((1, 2, 3))


def mean_absolute(first, second):
    return (first - second).abs().mean((1, 2, 3))


def test_full_mask_equals_the_whole_image():
    render, target = random_pair()
    similarity = ssim_map(render, target)
    compared = similarity, mean_squared, mean_absolute
    whole = image_metrics(render, target, *compared)
    full = masked_metrics(render, target, torch.ones(40, 48, dtype=torch.bool), *compared)
    assert torch.allclose(whole, full)


def test_an_empty_mask_has_no_values():
    render, target = random_pair()
    empty = torch.zeros(40, 48, dtype=torch.bool)
    assert masked_metrics(render, target, empty, ssim_map(render, target), None).isnan().all()
