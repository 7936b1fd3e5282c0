"""What every image metric must hold. Inherit `ImageMetricContract` in a class whose name begins with Test::

class TestMyMetric(ImageMetricContract):
    def metric(self):
        return MyMetric()

    def reference(self, rendered, target, mask):
        ...
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from torch import Tensor

from partnerface.evaluation.image_metric import ImageMetric
from partnerface.evaluation.means import FULL_FRAME, ImageMeans

FAR = 16
"""Pixels from a region at which a metric of neighbourhoods may no longer see anything."""


class ImageMetricContract:
    """Tests of one metric.

    Attributes:
        size: height and width of the pictures.
        tolerance: largest absolute difference from the reference.
    """

    size = (72, 90)
    tolerance = 1e-4

    def metric(self) -> ImageMetric:
        """The metric to test."""
        raise NotImplementedError

    def reference(self, rendered: np.ndarray, target: np.ndarray, mask: np.ndarray | None) -> float:
        """Its value, computed without torch.

        Args:
            rendered: ``[3, H, W]`` float64 in [0, 1].
            target: ``[3, H, W]``.
            mask: ``[H, W]`` bool with a true pixel, or None for the whole picture.
        """
        raise NotImplementedError

    def pictures(self, noise: float = 0.1, seed: int = 0) -> tuple[Tensor, Tensor]:
        """A smooth target and the same with noise, ``[3, H, W]`` each."""
        height, width = self.size
        generator = torch.Generator().manual_seed(seed)
        rows, columns = torch.linspace(0, 9, height)[:, None], torch.linspace(0, 7, width)
        waves = [torch.sin(rows + k + seed) * torch.cos(columns - k) for k in range(3)]
        target = 0.5 + 0.4 * torch.stack(waves)
        rendered = target + noise * torch.randn(target.shape, generator=generator)
        return rendered.clamp(0, 1), target

    def masks(self) -> dict[str, Tensor | None]:
        """The whole picture, and regions: a box with a hole, loose pixels, one pixel, everything."""
        height, width = self.size
        empty = torch.zeros(height, width, dtype=torch.bool)
        hole, loose, single = empty.clone(), empty.clone(), empty.clone()
        hole[4 : height - 10, 3 : width - 20] = True
        hole[20:30, 20:35] = False
        loose[5:30:7, 10:60:5] = True
        single[height // 2, width - 1] = True
        return {"whole": None, "hole": hole, "loose": loose, "single": single, "all": ~empty}

    def test_a_perfect_picture_has_the_ideal_value(self) -> None:
        metric, (_, target) = self.metric(), self.pictures()
        for name, mask in self.masks().items():
            value = float(metric.per_image(target.clone(), target, mask))
            # A region may be too small for a value, the whole picture is not.
            if name != "whole" and np.isnan(value):
                continue
            assert value == pytest.approx(metric.ideal, abs=self.tolerance), name

    def test_against_the_reference(self) -> None:
        rendered, target = self.pictures()
        arrays = rendered.double().numpy(), target.double().numpy()
        for name, mask in self.masks().items():
            expected = self.reference(*arrays, None if mask is None else mask.numpy())
            found = float(self.metric().per_image(rendered, target, mask))
            assert found == pytest.approx(expected, abs=self.tolerance, nan_ok=True), name

    def test_more_noise_is_worse(self) -> None:
        metric = self.metric()
        values = [float(metric.per_image(*self.pictures(noise), None)) for noise in (0.02, 0.1, 0.3)]
        assert values == sorted(values, reverse=metric.higher_is_better)
        assert len(set(values)) == 3

    def test_regions_together_are_the_regions_one_by_one(self) -> None:
        metric, pictures, masks = self.metric(), self.pictures(), list(self.masks().values())
        together = metric.per_region(*pictures, masks)
        apart = [float(metric.per_image(*pictures, mask)) for mask in masks]
        assert together.shape == (len(masks),)
        assert together.tolist() == pytest.approx(apart, rel=1e-6, nan_ok=True)

    def test_what_is_far_from_a_region_does_not_count(self) -> None:
        metric, (rendered, target) = self.metric(), self.pictures()
        height, width = self.size
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[: height - FAR - 8, : width - FAR - 8] = True
        spoilt = rendered.clone()
        spoilt[:, height - 8 :], spoilt[:, :, width - 8 :] = 0, 1
        expected = float(metric.per_image(rendered, target, mask))
        found = float(metric.per_image(spoilt, target, mask))
        assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)

    def test_an_empty_region_is_missing_and_changes_no_mean(self) -> None:
        empty = torch.zeros(self.size, dtype=torch.bool)
        means = ImageMeans(["test"], ["region", "never"], {"metric": self.metric()})
        for mask in (empty, ~empty, empty):
            means.update(["test"], *self.pictures(), {"region": mask, "never": empty})
        found = {region: values["metric"] for region, values in means.compute()["test"].items()}
        assert found[FULL_FRAME] == pytest.approx(found["region"], abs=self.tolerance)
        assert found["never"] is None

    def test_pictures_do_not_change_one_another(self) -> None:
        metric, pairs = self.metric(), [self.pictures(seed=seed) for seed in range(3)]
        forward = [float(metric.per_image(*pair, None)) for pair in pairs]
        backward = [float(metric.per_image(*pair, None)) for pair in reversed(pairs)]
        assert forward == backward[::-1]

    def test_pictures_and_masks_are_left_alone(self) -> None:
        given = [*self.pictures(), self.masks()["hole"]]
        before = [tensor.clone() for tensor in given]
        self.metric().per_image(*given)
        assert all(torch.equal(*pair) for pair in zip(given, before, strict=True))

    def test_metrics_json_can_describe_it(self) -> None:
        metric = self.metric()
        assert isinstance(metric.higher_is_better, bool)
        assert metric.definition.isprintable()
        assert metric.unit.isprintable()
        assert metric.missing() == ""


def inside(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Values ``[3, H, W]`` of a mask's pixels, for a reference."""
    return values if mask is None else values[:, mask]


def cropped(image: np.ndarray, mask: np.ndarray | None, smallest_side: int) -> np.ndarray:
    """The bounding box of a mask, white outside it, enlarged to a shorter side of so many pixels."""
    if mask is not None:
        rows, columns = np.nonzero(mask)
        box = np.s_[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        image = np.where(mask, image, 1.0)[box]
    _, height, width = image.shape
    scale = max(smallest_side / min(height, width), 1)
    factors = (1, round(height * scale) / height, round(width * scale) / width)
    return zoom(image, factors, order=1, mode="nearest", grid_mode=True)
