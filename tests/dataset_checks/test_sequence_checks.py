import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.plausibility import leave_out
from partnerface.dataset_checks.sequence_checks import (
    Finding,
    check_camera,
    check_coverage,
    check_length,
    check_proportions,
    check_splits,
    check_tracking,
    coverage_of,
    graded,
    picture_enlargement,
    tracking_report,
)
from partnerface.head_models.head_model import HeadModel


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


def test_a_small_face_is_judged_by_the_whole_picture(tmp_path):
    """A crop of 162 pixels from the upper left of 1920x1080, of a camera that sees 44 degrees."""
    focal = 960 / math.tan(math.radians(22))
    crop = Camera.static(5, focal, 162, 162)
    crop.intrinsics[:, 2:] = torch.tensor([960.0, 540.0]) - torch.tensor([40.0, 30.0])
    assert [finding.severity for finding in check_camera(crop)] == ["unfit", "unfit"]
    (tmp_path / "report.json").write_text(json.dumps({"picture_side_px": 1920.0}))
    enlargement = picture_enlargement(tracking_report(tmp_path), crop)
    (finding,) = check_camera(crop, enlargement)
    assert finding.severity == "ok"
    assert finding.values["field_of_view_degrees"] == pytest.approx(44)
    assert finding.values["principal_offset_sides"] == pytest.approx((960 - 40 - 81) / 1920)
    # What is wrong in the whole picture stays wrong.
    crop.intrinsics[:, :2] *= 10
    assert check_camera(crop, enlargement)[0].severity == "unfit"


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "[" * 100_000),
        *(
            f'{{"picture_side_px": {value}}}'
            for value in ("null", "[1]", '"1920"', "NaN", "Infinity", "-1920", "0", "1e300", 400 * "1")
        ),
    ],
)
def test_a_report_without_a_size_that_a_video_can_have_changes_nothing(tmp_path, text):
    assert picture_enlargement(tracking_report(tmp_path), camera()) == 1
    (tmp_path / "report.json").write_text(text)
    assert picture_enlargement(tracking_report(tmp_path), camera()) == 1


def digests(frames: int) -> list[str]:
    return [f"picture {k}" for k in range(frames)]


def test_different_pictures_are_fine(make_sequence):
    sequence = make_sequence()
    (finding,) = check_splits(replace(sequence, image_paths=[None] * 400), digests(400))
    assert finding.severity == "ok"
    assert finding.values == {"shared": 0, "repeated": 0, "gap_frames": 11}


def test_a_picture_that_training_has_seen_is_named(make_sequence):
    pictures = digests(400)
    pictures[350] = pictures[7]
    (finding,) = check_splits(make_sequence(), pictures)
    assert finding.severity == "unfit"
    assert "1 of 90 pictures of temporal are in training too, such as 350" in finding.text


def test_validation_costs_doubt_only(make_sequence):
    splits = {"train": list(range(300)), "val": [305], "temporal": [390]}
    pictures = digests(400)
    pictures[305] = pictures[0]
    (finding,) = check_splits(make_sequence(splits=splits), pictures)
    assert finding.severity == "doubt"


def test_repeated_frames(make_sequence):
    """Every fourth frame of a clip of a raised rate stands for two."""
    pictures = [f"picture {k - (k % 4 == 1)}" for k in range(400)]
    (finding,) = check_splits(make_sequence(), pictures)
    assert (finding.severity, finding.values["repeated"]) == ("doubt", 100)
    same_within_training = digests(400)
    same_within_training[3] = same_within_training[200]
    assert check_splits(make_sequence(), same_within_training)[0].severity == "ok"


def test_enough_frames_are_fine(make_sequence):
    (finding,) = check_tracking(make_sequence())
    assert finding.severity == "ok"
    assert finding.values == {"frames": 0, "train": 300, "test": 90, "left_out": 0, "unused": 0}


@pytest.mark.parametrize(("train", "severity"), [(9, "unfit"), (10, "doubt"), (199, "doubt"), (200, "ok")])
def test_training_frames(make_sequence, train, severity):
    sequence = make_sequence(splits={"train": list(range(train)), "temporal": [390]})
    assert check_tracking(sequence)[0].severity == severity


def test_no_test_is_doubtful(make_sequence):
    assert check_tracking(make_sequence(splits={"train": list(range(300))}))[0].severity == "doubt"


@pytest.mark.parametrize(("count", "severity"), [(1, "doubt"), (40, "doubt"), (41, "unfit")])
def test_frames_left_out(make_sequence, count, severity):
    sequence = make_sequence()
    sequence.image_paths = [None] * 400
    left = leave_out(sequence, dict.fromkeys(range(count), "head behind the camera"))
    first = check_tracking(left)[0]
    assert first.severity == severity
    assert f"{count} of 400 frames cannot be tracked right" in first.text
    assert "(head behind the camera)" in first.text
    assert first.values["unused"] == 0


def test_frames_without_a_head(make_sequence):
    sequence = make_sequence()
    sequence.image_paths = [None] * 400
    sequence.frame_weights = torch.cat([torch.ones(279), torch.zeros(121)])
    found = check_tracking(sequence)
    said = "121 of 400 frames have weight 0 and are not used"
    assert [finding.text for finding in found] == [f"{said}: no reason is recorded"]
    # Frames that count are in no reason, and no frame is in two.
    report = {
        "frames_without_face": [0, *range(280, 290)],
        "frames_not_trusted": [*range(285, 300)],
        "frames_repeated": [1, 2, *range(289, 399)],
    }
    (finding,) = check_tracking(sequence, report)
    reasons = "no face in 10, a covered, cut or wrongly tracked one in 10, a copy of the frame before in 99"
    assert finding.text == f"{said}: {reasons}"
    (finding,) = check_tracking(sequence, {"frames_repeated": list(range(400))})
    assert finding.text == f"{said}: a copy of the frame before in 121"
    strange = {
        "frames_without_face": 3,
        "frames_not_trusted": [[1], None, "300", 1e300],
        "frames_repeated": {},
    }
    assert check_tracking(sequence, strange) == found


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3, "3.0 s show about 58% of how far a face moves in 20 s, and 55% of how far the head turns"),
        (4, "4.0 s show about 64% of"),
        (5, "5.0 s show about 71% of"),
        (10, "10.0 s show about 88% of how far a face moves in 20 s, and 94%"),
        (15, "15.0 s show about 94% of"),
        (20, "20.0 s"),
        (60, "60.0 s"),
    ],
)
def test_what_a_short_clip_shows(make_sequence, seconds, said):
    """Frames without a head do not count."""
    frames = 26 * seconds
    sequence = make_sequence(frames=min(frames, 600))
    weights = torch.ones(frames)
    weights[::26] = 0
    (finding,) = check_length(replace(sequence, frame_weights=weights))
    assert finding.text.startswith(said)
    assert finding.severity == ("doubt" if seconds < 20 else "ok")


@pytest.mark.parametrize(
    ("frames", "severity", "said"), [(499, "ok", "20.0 s"), (480, "doubt", "19.2 s show about 99% of")]
)
def test_a_clip_that_shows_all_but_a_frame_is_no_doubt(make_sequence, frames, severity, said):
    """It was called one that shows 100 %."""
    (finding,) = check_length(replace(make_sequence(frames=frames), frame_weights=torch.ones(frames)))
    assert (finding.severity, finding.text[: len(said)]) == (severity, said)


def check(sequence):
    return check_coverage(sequence, coverage_of(sequence))


def test_a_head_that_turns_and_speaks_is_fine(make_sequence):
    (finding,) = check(make_sequence(turn=40))
    assert finding.severity == "ok"
    assert finding.values == pytest.approx(
        {"yaw_degrees": 40, "pitch_degrees": 0, "expressions_used": 1}, abs=1e-3
    )


@pytest.mark.parametrize(("turn", "severity"), [(14.5, "doubt"), (15.5, "ok")])
def test_turns(make_sequence, turn, severity):
    assert check(make_sequence(turn=turn))[0].severity == severity


def test_a_still_face_teaches_nothing(make_sequence):
    sequence = make_sequence()
    sequence.head.expression[:] = 0.3
    assert [finding.severity for finding in check(sequence)] == ["unfit"]


def test_few_expressions_are_doubtful(make_sequence):
    sequence = make_sequence()
    sequence.head.expression = torch.zeros(400, 20)
    sequence.head.expression[::2, 0] = 1
    (finding,) = check(sequence)
    assert (finding.severity, finding.values["expressions_used"]) == ("doubt", pytest.approx(0.05))


def test_no_training_frame(make_sequence):
    sequence = make_sequence(splits={"train": [], "temporal": [1]})
    assert coverage_of(sequence) == {}
    assert check(sequence)[0].severity == "unfit"


def test_problems_or_one_word_that_all_is_well():
    assert graded("topic", [], "fine", {"n": 1}) == [Finding("topic", "ok", "fine", {"n": 1})]
    assert graded("topic", [("unfit", "a"), ("doubt", "b")], "fine", {"n": 1}) == [
        Finding("topic", "unfit", "a", {"n": 1}),
        Finding("topic", "doubt", "b"),
    ]


def _with_identity(make_sequence, identity):
    sequence = make_sequence()
    return replace(sequence, head=replace(sequence.head, identity=identity))


@pytest.mark.parametrize(("squeeze", "word"), [((0.75, 1), "narrow"), ((1, 0.75), "wide")])
def test_a_squeezed_face_by_the_identity_that_comes_nearest_to_it(make_sequence, anny, squeeze, word):
    """Least squares over all vertices, with the prior of a standard deviation of a millimetre."""
    basis = anny.identity_basis.reshape(len(anny.identity_basis), -1).double()
    mean = anny.template_vertices.double()
    scale = torch.tensor([*squeeze, 1], dtype=torch.double)
    target = ((mean - mean.mean(0)) * (scale - 1)).reshape(-1)
    identity = torch.linalg.solve(basis @ basis.T + 1e-6 * torch.eye(len(basis)), basis @ target).float()
    (finding,) = check_proportions(_with_identity(make_sequence, identity), anny)
    assert finding.severity == "doubt"
    assert f"the face is {word}" in finding.text


def test_a_head_model_whose_identities_are_sizes_has_no_squeezed_faces(make_sequence, anny):
    """Its one coefficient changes no proportion, but for rounding."""
    asset = replace(
        anny.asset,
        identity_basis=anny.asset.template_vertices[None].astype(np.float32),
        joint_identity_basis=anny.asset.template_joints[None].astype(np.float32),
    )
    sizes = HeadModel(asset)
    for size in (0.0, 0.05, -0.1):
        assert check_proportions(_with_identity(make_sequence, torch.tensor([size])), sizes) == []


def test_faces_of_the_head_model_are_not_squeezed(make_sequence, anny):
    generator = torch.Generator().manual_seed(0)
    size = len(anny.identity_basis)
    drawn = [torch.zeros(size), *torch.randn(20, size, generator=generator)]
    found = [check_proportions(_with_identity(make_sequence, identity), anny)[0] for identity in drawn]
    assert found[0].values == pytest.approx({"width": 1, "deviations": 0}, abs=1e-5)
    assert [finding.severity for finding in found].count("ok") >= 19
