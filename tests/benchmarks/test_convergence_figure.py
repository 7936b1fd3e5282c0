"""The figure shows every method, whether it has a short training or not."""

from pathlib import Path

import numpy as np
from PIL import Image

from partnerface.benchmarks.convergence_figure import write_convergence_figure


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
