"""The default metrics against numpy and scipy, and how a run chooses others."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from partnerface.errors import UserError
from partnerface.evaluation.image_metric import enlarged, masked_crops
from partnerface.evaluation.metrics import (
    L1,
    PSNR,
    SSIM,
    MultiScaleSSIM,
    chosen_metrics,
    multi_scale_ssim,
    psnr,
)
from tests.contracts.metric_contract import ImageMetricContract, cropped, inside

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim_terms(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast of Wang et al. 2004, equation 13, with scipy's Gaussian cut at 5 pixels."""

    def mean(image):
        return gaussian_filter(image.astype(np.float64), (0, 1.5, 1.5), truncate=3.5, mode="mirror")

    mu1, mu2 = mean(first), mean(second)
    var1, var2, cov = mean(first**2) - mu1**2, mean(second**2) - mu2**2, mean(first * second) - mu1 * mu2
    luminance = (2 * mu1 * mu2 + 0.01**2) / (mu1**2 + mu2**2 + 0.01**2)
    return luminance, (2 * cov + 0.03**2) / (var1 + var2 + 0.03**2)


class TestPSNR(ImageMetricContract):
    def metric(self):
        return PSNR()

    def reference(self, rendered, target, mask):
        return -10 * np.log10(np.mean(inside((rendered - target) ** 2, mask)))


class TestL1(ImageMetricContract):
    tolerance = 1e-6

    def metric(self):
        return L1()

    def reference(self, rendered, target, mask):
        return np.mean(np.abs(inside(rendered - target, mask)))


class TestSSIM(ImageMetricContract):
    def metric(self):
        return SSIM()

    def reference(self, rendered, target, mask):
        return np.mean(inside(np.prod(ssim_terms(rendered, target), axis=0), mask))


class TestMultiScaleSSIM(ImageMetricContract):
    """Wang, Simoncelli, Bovik 2003, equation 7, scale by scale; windows that stick out are left out of the
    contrast terms."""

    size = (200, 260)
    tolerance = 2e-4

    def metric(self):
        return MultiScaleSSIM()

    def reference(self, rendered, target, mask):
        if mask is not None and min(np.ptp(places) + 1 for places in np.nonzero(mask)) < 44:
            return np.nan
        first, second = (cropped(image, mask, 176) for image in (rendered, target))
        value = 1.0
        for scale, weight in enumerate(MS_SSIM_WEIGHTS):
            luminance, contrast = ssim_terms(first, second)
            last = scale == len(MS_SSIM_WEIGHTS) - 1
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

    def test_a_negative_is_no_picture_of_it(self) -> None:
        """Contrast terms below zero must not give NaN."""
        rendered, _ = self.pictures()
        assert float(self.metric().per_image(1 - rendered, rendered, None)) == pytest.approx(0, abs=1e-5)

    def test_small_images_are_enlarged_and_tiny_ones_have_no_value(self) -> None:
        first, second = torch.rand(2, 1, 3, 44, 60, generator=torch.Generator().manual_seed(0))
        larger = multi_scale_ssim(enlarged(first, 176), enlarged(second, 176))
        assert multi_scale_ssim(first, second).item() == pytest.approx(larger.item())
        assert multi_scale_ssim(first[:, :, :43], second[:, :, :43]).isnan().all()


def test_psnr_by_hand():
    # An error of 0.1 everywhere: 10 log10(1 / 0.01) = 20 dB.
    for error, expected in ((0.1**2, 20.0), (1.0, 0.0), (1e-7, 70.0), (1e-12, 100.0), (0.0, 100.0)):
        assert float(psnr(torch.tensor(error))) == pytest.approx(expected, abs=1e-3)


def test_crops_are_white_outside_the_mask():
    """A ring: its bounding box holds pixels that do not belong to it."""
    image = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(40, 48, dtype=torch.bool)
    mask[10:20, 10:20] = True
    mask[13:17, 13:17] = False
    (crop,) = masked_crops([image], mask)
    assert crop.shape == (1, 3, 10, 10)
    assert (crop[0, :, 3:7, 3:7] == 1).all()
    assert torch.equal(crop[0, :, :3], image[:, 10:13, 10:20])
    (whole,) = masked_crops([image], None)
    assert torch.equal(whole[0], image)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (63, 200), (64, 64), (65, 300)])
def test_small_images_are_enlarged(size):
    images = enlarged(torch.rand(2, 3, *size), 64)
    assert min(images.shape[-2:]) == max(64, min(size))
    assert images.shape[-1] / images.shape[-2] == pytest.approx(size[1] / size[0], rel=0.01)


def test_metrics_are_added_replaced_and_left_out_by_name():
    assert list(chosen_metrics()) == ["psnr", "ssim", "ms_ssim", "lpips", "l1"]
    mine, other = L1(), L1()
    found = chosen_metrics({"mine": mine, "psnr": other, "lpips": None})
    assert list(found) == ["psnr", "ssim", "ms_ssim", "l1", "mine"]
    assert (found["mine"], found["psnr"]) == (mine, other)


@pytest.mark.parametrize("name", ["", "my metric", "val/psnr", "\n", "temporal", "depth_mm"])
def test_names_that_metrics_json_has_no_place_for_are_one_line(name):
    with pytest.raises(UserError, match=r"--model\.metrics"):
        chosen_metrics({name: L1()})
