import numpy as np
from PIL import Image

from partnerface.data.regions import Region
from partnerface.dataset_checks.pictures import TINT, overlay_picture, write_coverage_figure
from partnerface.dataset_checks.projection_check import ProjectedHead


def a_head(frame: int) -> ProjectedHead:
    regions = np.zeros((40, 60), np.uint8)
    regions[20:30, 20:30] = Region.FACE
    return ProjectedHead(frame, np.full((40, 60, 3), frame, np.uint8), regions, 1, 1, 1, 1)


def test_frames_lie_in_rows_of_four_with_the_face_tinted_and_outlined():
    sheet = overlay_picture([a_head(k) for k in range(6)])
    assert sheet.shape == (80, 240, 3)
    for frame, (top, left) in {0: (0, 0), 3: (0, 180), 5: (40, 60)}.items():
        assert sheet[top + 35, left + 55].tolist() == [frame] * 3
        assert sheet[top + 20, left + 25].tolist() == list(TINT[Region.FACE])
        expected = np.full(3, frame) + 0.25 * (np.array(TINT[Region.FACE]) - frame)
        assert np.abs(sheet[top + 25, left + 25] - expected).max() <= 1
    assert not sheet[40:, 120:].any()


def test_no_more_than_twelve_spread_over_all():
    sheet = overlay_picture([a_head(k) for k in range(34)])
    assert sheet.shape == (120, 240, 3)
    assert sheet[35, 55, 0] == 0
    assert sheet[115, 235, 0] == 33


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
