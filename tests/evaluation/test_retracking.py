"""Re-tracking on heads whose landmarks are projected, not detected: what differs is known exactly."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.frame_labels import landmark_pixels
from partnerface.errors import UserError
from partnerface.evaluation import retracking
from partnerface.evaluation.retracking import (
    FoundFaces,
    RetrackedScores,
    expression_error,
    open_face_finder,
    retracked_scores,
)
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_geometry import (
    LEFT_IRIS,
    LID_PAIRS,
    LIP_PAIRS,
    RIGHT_IRIS,
    landmark_geometry,
)
from partnerface.tracking.detection.landmark_track import LANDMARKS
from tests.contracts.subjects import shared_head_model

SIZE = 256
FRAMES = 12


def test_a_constant_offset_of_all_expressions_is_no_error():
    true = torch.rand(20, shared_head_model().num_expression)
    error = expression_error(true + 0.3, true, shared_head_model())
    assert error.millimetres == pytest.approx(0, abs=1e-3)
    assert error.coefficients == pytest.approx(0, abs=1e-6)


def test_the_error_of_one_action_is_the_distance_that_it_moves_vertices():
    head_model = shared_head_model()
    jaw = head_model.expression_index("jawOpen")
    true = torch.zeros(40, head_model.num_expression)
    found = true.clone()
    found[:, jaw] = 0.1 * torch.tensor([1.0, -1.0]).repeat(20)
    error = expression_error(found, true, head_model)
    basis = head_model.expression_basis
    lengths = basis.norm(dim=-1)
    moved = lengths[jaw][lengths.amax(0) > 0.001]
    assert error.millimetres == pytest.approx(100 * float(moved.square().mean().sqrt()), rel=1e-4)
    assert error.coefficients == pytest.approx(0.1 / math.sqrt(head_model.num_expression), rel=1e-5)


def landmarks(head: HeadParameters) -> np.ndarray:
    """``[T, 478, 3]`` in pixels: those of the skin, where the head model has them, and both irises."""
    head_model, camera = shared_head_model(), Camera.static(len(head), 2.2 * SIZE, SIZE, SIZE)
    geometry = landmark_geometry(head_model)
    pixels = np.zeros((len(head), LANDMARKS, 3), np.float32)
    placed = landmark_pixels(head_model, geometry, head, camera)
    pixels[:, geometry.numbers, :2] = placed
    posed = head_model(head)
    for number, eye in ((LEFT_IRIS, "eye_left"), (RIGHT_IRIS, "eye_right")):
        ball = posed.vertices[:, head_model.faces[head_model.part_faces(eye)].unique()]
        joint = posed.joints[:, head_model.joint(eye)]
        look = (head.rotation @ head.joint_rotations[:, head_model.joint(eye)])[:, :, 2]
        reach = ((ball - joint[:, None]) @ look[..., None]).amax((1, 2))
        pixels[:, number, :2] = camera.project((joint + reach[:, None] * look)[:, None])[0][:, 0]
    return pixels


def talking_head() -> HeadParameters:
    """Frames that look about, speak and blink, the whole face in the picture."""
    head_model = shared_head_model()
    head = head_model.neutral_parameters(FRAMES)
    expression = head.expression.clone()
    phase = torch.linspace(0, 2 * math.pi, FRAMES)
    for side in ("Left", "Right"):
        expression[:, head_model.expression_index(f"eyeBlink{side}")] = (phase.cos() > 0.8).float() * 0.7
    expression[:, head_model.expression_index("jawOpen")] = 0.2 + 0.2 * phase.sin()
    turn = torch.stack([0.05 * phase.sin(), 0.2 * phase.cos(), torch.zeros(FRAMES)], 1)
    return replace(
        head,
        expression=expression,
        rotation=axis_angle_to_matrix(turn),
        translation=torch.tensor([0.0, 0.0, -0.9]).repeat(FRAMES, 1),
    )


def changed(head: HeadParameters) -> HeadParameters:
    """The same, turned by 4 degrees, looking 6 degrees to a side, with eyes that never close."""
    head_model = shared_head_model()
    joints, expression = head.joint_rotations.clone(), head.expression.clone()
    aside = axis_angle_to_matrix(torch.tensor([0.0, math.radians(6), 0.0]))
    joints[:, [head_model.joint("eye_left"), head_model.joint("eye_right")]] = aside
    for side in ("Left", "Right"):
        expression[:, head_model.expression_index(f"eyeBlink{side}")] = 0
    turn = axis_angle_to_matrix(torch.tensor([math.radians(4), 0.0, 0.0]))
    return replace(head, joint_rotations=joints, expression=expression, rotation=head.rotation @ turn)


@pytest.fixture(scope="module")
def scores() -> RetrackedScores:
    """Of renderings in which the head is `changed`, while the nearest training frame is the target itself."""
    head = talking_head()
    target, avatar = landmarks(head), landmarks(changed(head))
    faces = [
        FoundFaces(i, ["temporal"], np.stack([target[i], avatar[i], target[i]]), target[i, :, :2])
        for i in range(FRAMES)
    ]
    # A rendering without a face counts for no one, and two renderings with a face are too few.
    missing = np.full_like(target[0], np.nan)
    for number, rendering in enumerate((missing, missing, avatar[0], avatar[1])):
        # Far from the target: it would be an error of 40 pixels.
        shifted = target[0] * (1 if number else 1.2)
        pictures = np.stack([target[0], rendering, shifted])
        split = "pose" if number else "temporal"
        faces.append(FoundFaces(FRAMES + number, [split], pictures, shifted[:, :2]))
    camera = Camera.static(1, 2.2 * SIZE, SIZE, SIZE)
    centre = tuple(camera.intrinsics[0, 2:].tolist())
    return retracked_scores(
        faces, ["temporal", "pose", "empty"], shared_head_model(), 2.2 * SIZE, centre, (SIZE, SIZE)
    )


def test_what_is_found_again_unchanged_has_no_error(scores):
    nearest = scores["temporal"]["nearest_frame"]
    assert nearest["eyes"]["lid_aperture_mm"] == pytest.approx(0, abs=0.02)
    assert nearest["eyes"]["lid_correlation"] == pytest.approx(1)
    assert nearest["face"]["rotation_degrees"] < 0.1
    assert nearest["face"]["expression"] < 0.005
    assert nearest["eyes"]["gaze_degrees"] < 0.1


def test_pose_and_gaze_errors_are_the_angles_by_which_they_differ(scores):
    avatar = scores["temporal"]["avatar"]
    assert avatar["face"]["frames"] == FRAMES
    assert avatar["face"]["rotation_degrees"] == pytest.approx(4, abs=0.6)
    assert avatar["eyes"]["gaze_degrees"] == pytest.approx(6, abs=1.2)


def test_lid_errors_are_those_of_the_lids_in_space(scores):
    """In millimetres against the lids of the head model itself, without a camera."""
    head_model, head = shared_head_model(), talking_head()
    geometry = landmark_geometry(head_model)
    apertures, shares = [], []
    for some in (head, changed(head)):
        places = geometry.points.positions(some.identity, some.expression)
        eyes = []
        for corners, pairs in LID_PAIRS:
            lids = [(places[:, a] - places[:, b]).norm(dim=1) for a, b in map(geometry.rows, pairs)]
            first, second = geometry.rows(corners)
            eyes.append((torch.stack(lids).mean(0), (places[:, first] - places[:, second]).norm(dim=1)))
        apertures.append(torch.stack([aperture for aperture, _ in eyes]).mean(0))
        shares.append(torch.stack([aperture / width for aperture, width in eyes]).mean(0))
    blinks = head.expression[:, head_model.expression_index("eyeBlinkLeft")] > 0.5
    true = 1000 * float((apertures[1] - apertures[0]).abs().mean())
    found = scores["temporal"]["avatar"]["eyes"]
    assert found["blink_frames"] == float(blinks.sum())
    assert found["lid_aperture_mm"] == pytest.approx(true, rel=0.15)
    assert found["blink_lid_share"] == pytest.approx(float((shares[1] - shares[0])[blinks].mean()), rel=0.15)
    # Lids that never move follow nothing.
    assert found["lid_correlation"] < 0.7
    assert scores["temporal"]["avatar"]["mouth"]["opening_mm"] < 0.35


OPENED, SMILE, SHIFT_M = 0.25, 0.4, 0.005


def with_expression(head: HeadParameters, name: str, change: float) -> HeadParameters:
    """The head with ``change`` added to one coefficient in every frame."""
    expression = head.expression.clone()
    expression[:, shared_head_model().expression_index(name)] += change
    return replace(head, expression=expression)


@pytest.fixture(scope="module")
def known_changes() -> dict[str, dict[str, dict[str, float | None]]]:
    """Of a rendering that stands 5 mm aside and smiles more; the nearest frame's jaw is wider open."""
    head = talking_head()
    aside = replace(head, translation=head.translation + torch.tensor([SHIFT_M, 0.0, 0.0]))
    others = with_expression(aside, "mouthSmileLeft", SMILE), with_expression(head, "jawOpen", OPENED)
    pixels = np.stack([landmarks(some) for some in (head, *others)], 1)
    faces = [FoundFaces(i, ["temporal"], three, three[0, :, :2]) for i, three in enumerate(pixels)]
    centre = SIZE / 2, SIZE / 2
    scores = retracked_scores(faces, ["temporal"], shared_head_model(), 2.2 * SIZE, centre, (SIZE, SIZE))
    return scores["temporal"]


def test_the_opening_of_the_mouth_is_that_of_the_lips_as_seen(known_changes):
    """Against the head model's own lips, turned to the camera: what they move in depth is not seen."""
    head_model, head = shared_head_model(), talking_head()
    geometry, openings = landmark_geometry(head_model), []
    for some in (head, with_expression(head, "jawOpen", OPENED)):
        places = geometry.points.positions(some.identity, some.expression) @ some.rotation.mT
        lips = [(places[:, a] - places[:, b])[:, :2].norm(dim=1) for a, b in map(geometry.rows, LIP_PAIRS)]
        openings.append(torch.stack(lips).mean(0))
    true = 1000 * float((openings[1] - openings[0]).mean())
    assert known_changes["nearest_frame"]["mouth"]["opening_mm"] == pytest.approx(true, rel=0.05)
    assert known_changes["nearest_frame"]["mouth"]["opening_correlation"] > 0.99


def test_a_head_that_stands_aside_is_off_by_as_many_millimetres(known_changes):
    face = known_changes["avatar"]["face"]
    assert face["translation_mm"] == pytest.approx(1000 * SHIFT_M, abs=0.3)
    assert face["rotation_degrees"] < 0.3


def test_an_expression_is_an_error_of_its_region_alone(known_changes):
    """The fit's prior takes a tenth off the smile and gives some of it to its neighbours."""
    head_model, avatar = shared_head_model(), known_changes["avatar"]
    names = head_model.asset.expression_names
    of_mouth = sum(name.startswith(("mouth", "jaw", "tongue", "cheekPuff", "noseSneer")) for name in names)
    assert avatar["mouth"]["expression"] == pytest.approx(SMILE / of_mouth, rel=0.35)
    assert avatar["face"]["expression"] == pytest.approx(SMILE / len(names), rel=0.35)
    assert max(avatar[region]["expression"] for region in ("brows", "eyes")) < 0.1 * SMILE / of_mouth
    lengths = head_model.expression_basis.norm(dim=-1)
    moved = lengths[head_model.expression_index("mouthSmileLeft")][lengths.amax(0) > 0.001]
    true_mm = 1000 * SMILE * float(moved.square().mean().sqrt())
    assert avatar["face"]["expression_mm"] == pytest.approx(true_mm, rel=0.2)


def test_the_nearest_frame_and_the_tracked_head_are_compared_on_the_avatars_frames(scores):
    """The one without a face in the rendering would be an error of both."""
    table = scores["temporal"]
    assert {table[name]["face"]["frames"] for name in table} == {FRAMES}
    assert table["tracked_head"]["eyes"]["lid_aperture_mm"] == 0
    shares = {name: table[name]["face"]["found_share"] for name in table}
    assert shares == {
        "avatar": pytest.approx(FRAMES / (FRAMES + 1)),
        "nearest_frame": 1,
        "tracked_head": 1,
    }


def test_a_split_with_few_faces_says_how_many_and_no_more(scores):
    assert scores["pose"]["avatar"] == {"face": {"frames": 2, "found_share": pytest.approx(2 / 3)}}
    assert scores["empty"]["avatar"] == {"face": {"frames": 0, "found_share": None}}


def test_a_missing_model_file_is_a_reason_and_no_error(monkeypatch):
    def missing(**_):
        raise UserError("face_landmarker.task is missing")

    monkeypatch.setattr(retracking, "face_landmarker", missing)
    assert open_face_finder(256, 256, shared_head_model()) == (None, "face_landmarker.task is missing")
    finder, reason = open_face_finder(64, 64, shared_head_model())
    assert finder is None
    assert "too small" in reason
