"""A live performer, with made-up faces and, where MediaPipe's model is there, with rendered ones."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.avatar.default_view import DefaultView
from partnerface.data.drivers.transfer import TransferSettings
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.files.downloads import FACE_LANDMARKER, stored_file
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.rotations import rotation_vectors
from partnerface.tracking.detection.landmarks import DetectedFace
from partnerface.tracking.live import LivePerformer, face_expression, face_placement
from tests.contracts.subjects import shared_head_model, tracked_sequence
from tests.head_models.flame_files import embedded, flame_head_arrays

IMAGE = np.zeros((4, 4, 3), np.uint8)
LOOSE = TransferSettings(range=math.inf, keep_distance=False, torso="still")

needs_mediapipe = pytest.mark.skipif(
    stored_file(FACE_LANDMARKER.name) is None,
    reason=f"{FACE_LANDMARKER.name} is neither in the folder PARTNERFACE_ASSETS nor in the cache",
)


def made_up_avatar(head_model=None):
    """All that a live performer needs of an avatar."""
    head_model = head_model or shared_head_model()
    sequence = tracked_sequence(head_model)
    views = View(sequence.camera, sequence.head, sequence.torso_motion)
    defaults = DefaultView(head_model)
    defaults.remember(views, head_model)
    mean = torch.tensor([0.1, -0.2, 0.05, 0.3, 0.2, -9.0])
    identity = sequence.head.identity
    return SimpleNamespace(
        head_model=head_model, identity=identity, driven=lambda: defaults.driven(identity, mean, head_model)
    )


def face(
    turn: tuple[float, float, float] = (0, 0, 0),
    place: tuple[float, float, float] = (1, 2, -50),
    jaw: float = 0.0,
    **scores: float,
) -> DetectedFace:
    """A face with constant offsets in its scores, as detectors give them. ``place`` is in centimetres."""
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[33, 0], landmarks[263, 0] = -50, 50
    landmarks[152, 1] = 85 + 100 * jaw
    names = shared_head_model().asset.expression_names
    known = {name: 0.05 + 0.002 * i for i, name in enumerate(names) if name != "tongueOut"}
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = axis_angle_to_matrix(torch.tensor(turn, dtype=torch.float32)).numpy()
    matrix[:3, 3] = place
    return DetectedFace(
        landmarks, {"_neutral": 0.9} | known | {n: known[n] + v for n, v in scores.items()}, matrix
    )


def perform(faces: list[DetectedFace | None], avatar=None, fps: float = 10.0, **options):
    given = iter(faces)
    options = {"settings": LOOSE} | options
    with LivePerformer(avatar or made_up_avatar(), detect=lambda *_: next(given), **options) as performer:
        return [performer.view(IMAGE, i / fps) for i in range(len(faces))]


def test_a_face_at_rest_gives_the_avatars_neutral_in_its_mean_pose_whoever_it_is():
    avatar = made_up_avatar()
    driven = avatar.driven()
    for views in (perform([face()] * 5, avatar), perform([face((0.2, 0.3, 0), (5, 0, -80))] * 5, avatar)):
        head = views[-1].head
        assert torch.equal(head.identity, avatar.identity)
        torch.testing.assert_close(head.expression[0], driven.limits.neutral, atol=1e-6, rtol=0)
        torch.testing.assert_close(head.rotation[0], driven.mean_rotation, atol=1e-5, rtol=0)
        torch.testing.assert_close(head.translation[0], driven.mean_translation, atol=1e-5, rtol=0)
        assert head.angular_velocity.abs().max() < 1e-5


def test_an_action_moves_its_coefficient_and_no_other():
    avatar = made_up_avatar()
    index = avatar.head_model.expression_index
    neutral = avatar.driven().limits.neutral
    views = perform(
        [face()] * 10 + [face(mouthSmileLeft=0.5), face(eyeBlinkRight=0.5), face(jaw=0.1)], avatar
    )
    for view, name, change in zip(
        views[-3:], ("mouthSmileLeft", "eyeBlinkRight", "jawOpen"), (0.3, 0.35, 0.13), strict=True
    ):
        moved = view.head.expression[0] - neutral
        assert moved[index(name)] == pytest.approx(change, abs=1e-4)
        moved[index(name)] = 0
        assert moved.abs().max() < 1e-4


def test_actions_that_the_detector_does_not_score_stay_and_its_own_neutral_score_is_ignored():
    head_model = shared_head_model()
    assert face_expression(face(), head_model)[head_model.expression_index("tongueOut")] == 0
    bare = DetectedFace(face().landmarks, {"_neutral": 1.0}, np.eye(4, dtype=np.float32))
    jaw = head_model.expression_index("jawOpen")
    assert not np.delete(face_expression(bare, head_model), jaw).any()


def test_the_range_of_the_avatar_holds_a_performer_back():
    avatar = made_up_avatar()
    wild = face(jaw=8.0, **dict.fromkeys(("mouthPucker", "browInnerUp"), 0.9))
    tight, loose = (
        perform([face()] * 10 + [wild], avatar, settings=TransferSettings(range=r))[-1].head.expression
        for r in (1.0, 10.0)
    )
    assert tight.max() <= 1
    assert (tight - avatar.driven().limits.neutral).norm() < (loose - avatar.driven().limits.neutral).norm()


def test_the_head_turns_about_its_own_axes_and_its_face_lands_where_the_detector_saw_it():
    avatar = made_up_avatar()
    start, end = ((0.1, -0.2, 0.05), (1, 2, -50)), ((0.3, 0.2, -0.1), (4, 1, -44))
    views = perform([face(*start)] * 30 + [face(*end)], avatar)
    first, last = views[29].head, views[30].head
    rotation = [axis_angle_to_matrix(torch.tensor(pose[0])) for pose in (start, end)]
    expected = first.rotation[0] @ rotation[0].T @ rotation[1]
    torch.testing.assert_close(last.rotation[0], expected, atol=1e-5, rtol=0)
    # The camera's axes are the world's, so the head joint moves as in front of the detector.
    origin = LivePerformer(avatar, detect=lambda *_: None)._face_origin
    joints = [np.array(p[1]) / 100 - r.numpy() @ origin for p, r in zip((start, end), rotation, strict=True)]
    moved = (last.translation - first.translation)[0].numpy()
    assert moved == pytest.approx(joints[1] - joints[0], abs=1e-4)


def test_the_distance_is_kept_unless_asked():
    near = [face()] * 30 + [face(place=(1, 2, -30))]
    for keep, change in ((True, 0.0), (False, 0.2)):
        views = perform(near, settings=TransferSettings(keep_distance=keep, torso="still"))
        assert float(views[-1].head.translation[0, 2] - views[0].head.translation[0, 2]) == pytest.approx(
            change, abs=1e-4
        )


def test_eyes_look_where_the_performer_looks():
    head_model = shared_head_model()
    to_the_left = face(eyeLookOutLeft=0.5, eyeLookInRight=0.5)
    down = face(eyeLookDownLeft=0.5, eyeLookDownRight=0.5)
    left, lowered = perform([face()] * 30 + [to_the_left, down])[-2:]
    for eye in ("eye_left", "eye_right"):
        gaze = left.head.joint_rotations[0, head_model.joint(eye), :, 2]
        assert torch.atan2(gaze[0], gaze[2]) == pytest.approx(0.15, abs=1e-3)
        gaze = lowered.head.joint_rotations[0, head_model.joint(eye), :, 2]
        assert torch.atan2(-gaze[1], gaze[2]) == pytest.approx(0.15, abs=1e-3)


@pytest.mark.parametrize("kind", ["unnamed", "flame"])
def test_a_head_model_without_names_moves_as_one_with_names(kind, tmp_path):
    """Anny's surface, with nameless expressions or, as in FLAME, mixed ones and a jaw that a joint opens."""
    anny = shared_head_model()
    if kind == "unnamed":
        names = [f"expression_{i}" for i in range(anny.num_expression)]
        nameless = HeadModel(replace(anny.asset, expression_names=names))
    else:
        np.savez(tmp_path / "flame.npz", **flame_head_arrays(anny))
        nameless = embedded(FlameHead(tmp_path / "flame.npz", 20, 49), anny)
    known = torch.as_tensor(nameless.asset.landmark_barycentric.sum(1) > 0)
    faces = [face()] * 10 + [face(jaw=0.3, mouthSmileLeft=0.6, mouthSmileRight=0.6)]

    def motion(head_model):
        """``[K, 3]`` of the landmarks in head rest space, between the first picture and the last."""
        first, *_, last = (view.head for view in perform(faces, made_up_avatar(head_model)))
        still = replace(head_model.neutral_parameters(1), identity=first.identity)
        posed = [
            replace(still, expression=head.expression, joint_rotations=head.joint_rotations)
            for head in (first, last)
        ]
        before, after = (landmark_points(head_model, head_model(head).vertices[0]) for head in posed)
        return (after - before)[known]

    wanted, found = motion(anny), motion(nameless)
    assert wanted.norm(dim=1).max() > 0.005
    assert (found - wanted).norm() < 0.35 * wanted.norm()


def test_a_head_model_with_neither_names_nor_landmarks_is_refused(tmp_path):
    np.savez(tmp_path / "flame.npz", **flame_head_arrays(shared_head_model()))
    with pytest.raises(UserError, match="has no landmark embedding, without which its expressions"):
        perform([face()], made_up_avatar(FlameHead(tmp_path / "flame.npz", 20, 49)))


def test_the_velocity_is_that_of_the_last_two_pictures_and_none_after_a_gap():
    turning = [face((0, 0.1 * i, 0)) for i in range(5)]
    assert perform(turning)[-1].head.angular_velocity[0].tolist() == pytest.approx([0, 1, 0], abs=1e-3)
    assert perform(turning, fps=1.5)[-1].head.angular_velocity.abs().max() == 0


def test_without_a_face_there_is_no_view_and_the_next_face_continues():
    views = perform([None, face(), None, None, face(mouthSmileLeft=0.5)])
    assert [view is None for view in views] == [True, False, True, True, False]


def test_a_face_that_is_not_finite_is_none_and_spoils_nothing():
    broken = face()
    broken.matrix[0, 3] = np.nan
    views = perform([face(), broken, face(mouthSmileLeft=0.5)], smooth=1.0)
    assert [view is None for view in views] == [False, True, False]
    assert views[2].head.expression.isfinite().all()
    assert views[2].head.translation.isfinite().all()


def test_a_neutral_that_is_taken_replaces_the_one_found():
    avatar, smiling = made_up_avatar(), face((0, 0.3, 0), mouthSmileLeft=0.5)
    with LivePerformer(avatar, LOOSE, detect=lambda *_: smiling) as performer:
        performer.take_neutral()
        for i in range(10):
            performer.view(IMAGE, i / 10)
        performer.take_neutral()
        performer._detect = lambda *_: face()
        head = performer.view(IMAGE, 1.0).head
    moved = head.expression[0] - avatar.driven().limits.neutral
    assert moved[avatar.head_model.expression_index("mouthSmileLeft")] == pytest.approx(-0.3, abs=1e-4)
    turn = avatar.driven().mean_rotation.T @ head.rotation[0]
    assert rotation_vectors(turn).tolist() == pytest.approx([0, -0.3, 0], abs=1e-4)


def test_smoothing_calms_noise_and_is_off_by_default():
    noise = np.random.default_rng(0).normal(scale=0.02, size=200)
    faces = [face((0, float(n), 0), mouthSmileLeft=float(n)) for n in noise]
    smile = shared_head_model().expression_index("mouthSmileLeft")

    def spread(**options) -> tuple[float, float]:
        heads = [view.head for view in perform(faces, fps=25, **options)[50:]]
        smiles = torch.stack([head.expression[0, smile] for head in heads])
        return float(smiles.std()), float(torch.stack([head.rotation[0, 0, 2] for head in heads]).std())

    raw, smooth = spread(), spread(smooth=1.0, beta=0.0)
    assert raw[0] == pytest.approx(0.6 * noise[50:].std(), rel=0.1)
    assert smooth[0] < 0.5 * raw[0]
    assert smooth[1] < 0.5 * raw[1]


@pytest.fixture(scope="module")
def rendered() -> dict[float, np.ndarray]:
    """Subject a without expression, its head turned by some degrees to its left."""
    renderer = SubjectRenderer(shared_head_model(), subject_named("a"), 2, 256, seed=0)
    pictures = {}
    for degrees in (0.0, 15.0):
        renderer.head.expression[:] = 0
        renderer.head.joint_rotations[:] = torch.eye(3)
        renderer.head.rotation[:] = axis_angle_to_matrix(torch.tensor([0.0, math.radians(degrees), 0.0]))
        renderer.head.translation[:] = renderer.head.torso_translation
        renderer.sway[:] = 0
        pictures[degrees] = renderer.render(0).image
    return pictures


def follow_a_turn(start: np.ndarray, end: np.ndarray) -> list[float]:
    """Degrees by which the avatar turns about its axes."""
    avatar = made_up_avatar()
    with LivePerformer(avatar, LOOSE) as performer:
        for i in range(30):
            performer.view(start, i / 10)
        for i in range(10):
            view = performer.view(end, 3 + i / 10)
        assert performer.view(np.full_like(start, 255), 4.0) is None
    return rotation_vectors(avatar.driven().mean_rotation.T @ view.head.rotation[0]).rad2deg().tolist()


@needs_mediapipe
def test_a_rendered_head_that_turns_to_its_left_turns_the_avatar_as_far(rendered):
    assert follow_a_turn(rendered[0.0], rendered[15.0]) == pytest.approx([0, 15, 0], abs=3)


def follow_two(both: np.ndarray) -> tuple[float, float]:
    """Degrees and metres that the avatar moves at most while the picture does not change."""
    with LivePerformer(made_up_avatar(), LOOSE) as performer:
        views = [performer.view(both, i / 10) for i in range(20)]
    turns = torch.cat([view.head.rotation for view in views])
    places = torch.cat([view.head.translation for view in views])
    degrees = rotation_vectors(turns[0].T @ turns).rad2deg().norm(dim=1).max()
    return float(degrees), float((places - places[0]).norm(dim=1).max())


@needs_mediapipe
def test_of_two_faces_it_stays_with_one(rendered):
    degrees, metres = follow_two(np.concatenate([rendered[0.0], rendered[15.0]], 1))
    assert degrees < 2
    assert metres < 0.01


def test_the_placement_is_that_of_the_head_joint():
    origin = np.array([0.0, 0.02, 0.06])
    found = face_placement(face((0, math.pi / 2, 0), (0, 0, -50)), origin)
    # Turned to its left by a right angle, the face is on the picture's right of the joint.
    assert found[:3] == pytest.approx([0, math.pi / 2, 0], abs=1e-5)
    assert found[3:6] / 10 == pytest.approx([-0.06, -0.02, -0.5], abs=1e-5)
