import numpy as np
from PIL import Image

from partnerface.dataset_checks.coverage_figure import write_coverage_figure


def test_every_split_that_is_there_is_drawn(make_sequence, tmp_path):
    """Colours of matplotlib's cycle: blue is training, orange the test."""
    for name, splits in (
        ("both", None),
        ("train", {"train": list(range(300))}),
        ("none", {"train": [], "temporal": [3]}),
    ):
        write_coverage_figure(tmp_path / f"{name}.png", make_sequence(splits=splits), ["smile $x$", "jaw"])
    blue, orange = (31, 119, 180), (255, 127, 14)

    def share(name: str, colour: tuple[int, int, int]) -> float:
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int)
        return float((np.abs(pixels - colour).max(-1) < 60).mean())

    assert share("both", blue) > share("none", blue)
    assert share("both", orange) > share("train", orange) == 0
