"""Figures are drawn for any number of curves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partnerface.benchmarks.growth import GrowthCurve
from partnerface.benchmarks.growth_figures import write_growth_figure, write_stage_figure


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
