"""The projected head against pictures in which its place is known."""

from dataclasses import replace

import numpy as np
import pytest

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.dataset_checks.projection_check import ProjectedHead, check_projection, project_heads
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
