import math

import pytest

from partnerface.cameras.pinhole import Camera
from partnerface.dataset_checks.camera_check import check_camera


def camera(focal: float = 460.0) -> Camera:
    return Camera.static(5, focal, 200, 160)


def test_a_usual_camera_is_fine_and_measured():
    (finding,) = check_camera(camera())
    assert finding.severity == "ok"
    assert finding.values["focal_sides_min"] == pytest.approx(2.3)
    assert finding.values["field_of_view_degrees"] == pytest.approx(2 * math.degrees(math.atan(100 / 460)))
    assert finding.values["pixel_stretch"] == pytest.approx(1)
    assert finding.values["principal_offset_sides"] == finding.values["camera_motion_m"] == 0


@pytest.mark.parametrize(
    ("focal", "severity"), [(99, "unfit"), (150, "doubt"), (1300, "doubt"), (2100, "unfit")]
)
def test_focal_lengths(focal, severity):
    assert [finding.severity for finding in check_camera(camera(focal))] == [severity]


def test_one_frame_of_another_focal_length_is_seen():
    other = camera()
    other.intrinsics[3, :2] *= 10
    assert check_camera(other)[0].severity == "unfit"


def test_stretch_principal_point_and_motion_are_found_each_by_itself():
    for column, factor, word in ((0, 1.1, "stretched by 1.10"), (2, 6, "2.5 picture sides off")):
        other = camera()
        other.intrinsics[:, column] *= factor
        findings = check_camera(other)
        assert [finding.severity for finding in findings] == ["unfit"]
        assert word in findings[0].text
    moving = camera()
    moving.camera_to_world[4, 1, 3] = 0.02
    (finding,) = check_camera(moving)
    assert (finding.severity, "0.020 m" in finding.text) == ("doubt", True)
