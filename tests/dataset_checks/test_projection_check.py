"""The projected head against pictures in which its place is known; pictures of the check."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.regions import Region
from partnerface.dataset_checks.projection_check import (
    TINT,
    ProjectedHead,
    check_projection,
    overlay_picture,
    project_heads,
    write_coverage_figure,
)
from partnerface.files.images import write_image


@pytest.fixture
def sequence(synthetic_dataset):
    return PartnerfaceReader(synthetic_dataset).read()


def a_head(**changed) -> ProjectedHead:
    plain = np.zeros((4, 4, 3), np.uint8)
    return replace(ProjectedHead(0, plain, plain[..., 0], 0.95, 0.8, 0.5, 1.0), **changed)


def test_the_rendered_subject_lies_on_its_own_pictures(sequence, anny):
    heads = list(project_heads(sequence, anny, 3))
    assert [head.frame for head in heads] == [0, 12, 23]
    for head in heads:
        assert head.in_matte > 0.97
        assert head.overlap > 0.6
        assert head.distance == pytest.approx(1.0, abs=0.1)


def test_a_head_behind_the_camera_or_aside_covers_nothing(sequence, anny):
    for axis, place in ((2, 1.0), (0, 5.0)):
        sequence.head.translation[:, axis] = place
        (head,) = project_heads(sequence, anny, 1)
        assert head.in_matte == head.overlap == 0


def test_half_a_matte_holds_half_a_head(sequence, anny, tmp_path):
    matte = np.zeros((32, 32), np.uint8)
    matte[:, :16] = 255
    write_image(tmp_path / "half.png", matte)
    sequence = replace(sequence, matte_paths=[tmp_path / "half.png"] * 24)
    (head,) = project_heads(sequence, anny, 1)
    assert head.in_matte == pytest.approx(0.5, abs=0.1)


def test_no_tracked_frame(sequence, anny):
    sequence.frame_weights[:] = 0
    assert list(project_heads(sequence, anny, 3)) == []
    assert check_projection([])[0].severity == "unfit"


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({}, "ok"),
        ({"in_matte": 0.8}, "doubt"),
        ({"in_matte": 0.5}, "unfit"),
        ({"overlap": 0.5}, "doubt"),
        ({"overlap": 0.2}, "unfit"),
        ({"height": 0.05}, "doubt"),
        ({"height": 2.0}, "doubt"),
    ],
)
def test_thresholds_are_of_the_median(changed, severity):
    heads = [a_head(**changed)] * 2 + [a_head()]
    assert check_projection(heads)[0].severity == severity


def square_head(frame: int) -> ProjectedHead:
    regions = np.zeros((40, 60), np.uint8)
    regions[20:30, 20:30] = Region.FACE
    return ProjectedHead(frame, np.full((40, 60, 3), frame, np.uint8), regions, 1, 1, 1, 1)


def test_frames_lie_in_rows_of_four_with_the_face_tinted_and_outlined():
    sheet = overlay_picture([square_head(k) for k in range(6)])
    assert sheet.shape == (80, 240, 3)
    for frame, (top, left) in {0: (0, 0), 3: (0, 180), 5: (40, 60)}.items():
        assert sheet[top + 35, left + 55].tolist() == [frame] * 3
        assert sheet[top + 20, left + 25].tolist() == list(TINT[Region.FACE])
        expected = np.full(3, frame) + 0.25 * (np.array(TINT[Region.FACE]) - frame)
        assert np.abs(sheet[top + 25, left + 25] - expected).max() <= 1
    assert not sheet[40:, 120:].any()


def test_no_more_than_twelve_spread_over_all():
    sheet = overlay_picture([square_head(k) for k in range(34)])
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
