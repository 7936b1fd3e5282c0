"""The figure shows every method, whether it has a short training or not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partnerface.benchmarks.speed.figures import (
    write_convergence_figure,
    write_growth_figure,
    write_stage_figure,
)
from partnerface.benchmarks.speed.growth import GrowthCurve


def test_each_method_has_a_line_of_its_own_colour(tmp_path: Path) -> None:
    def long(score: float) -> dict:
        return {"cpu_seconds": 600.0, "psnr": score, "curve": [(10.0, 15.0), (600.0, score)]}

    found = {
        "a": {"60": {"cpu_seconds": 60.0, "psnr": 22.0, "curve": [(60.0, 22.0)]}, "600": long(25.0)},
        "b": {"600": long(20.0)},
    }
    write_convergence_figure(tmp_path / "figure.png", found)
    image = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB"), np.int16)
    blue = image[..., 2] - image[..., 0] > 80
    orange = image[..., 0] - image[..., 2] > 150
    assert blue.sum() > 200
    assert orange.sum() > 200
    # The better one ends higher, that is in a smaller row, before the legend.
    assert blue.nonzero()[0].min() < orange.nonzero()[0].min()


@pytest.mark.parametrize("count", [1, 4])
def test_the_growth_figure_shows_every_curve(count: int, tmp_path: Path) -> None:
    curves = [GrowthCurve(str(k), "size", "cost", [1, 2, 4], [3.0, 5.0, 9.0]) for k in range(count)]
    write_growth_figure(tmp_path / "growth.png", curves)
    image = np.asarray(Image.open(tmp_path / "growth.png").convert("RGB"), np.int16)
    blue = (image[..., 2] - image[..., 0] > 80).any(0)
    starts = np.flatnonzero(np.diff(blue.astype(int)) == 1)
    assert len(starts) >= min(count, 3)


def test_the_stage_figure_has_longer_bars_for_slower_stages(tmp_path: Path) -> None:
    stages = [
        {"stage": "slow", "milliseconds": 30.0, "share": 0.75, "points": 3},
        {"stage": "fast", "milliseconds": 10.0, "share": 0.25, "points": None},
    ]
    write_stage_figure(tmp_path / "stages.png", {"step": stages})
    image = np.asarray(Image.open(tmp_path / "stages.png").convert("RGB"), np.int16)
    blue = (image[..., 2] - image[..., 0] > 80).sum(1)
    rows = blue[blue > 0]
    assert rows[0] == pytest.approx(3 * rows[-1], rel=0.05)
