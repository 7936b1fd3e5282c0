"""Views changed by name, by angle and by camera: what the head model's vertices and projections do."""

from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cameras.paths import moved_around
from partnerface.cameras.pinhole import Camera
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.head_models.head_rig import HeadRig
from tests.contracts.subjects import shared_head_model, strong_parameters

SIZE = 200


def view_of(frames: int = 1, seed: int = 0, **changed) -> View:
    """Strong poses before the camera of a video, with a torso and a motion of the torso layer."""
    model = shared_head_model()
    head = replace(strong_parameters(model, frames, seed), **changed)
    motion = torch.eye(2, 3).repeat(frames, 1, 1)
    motion += 0.05 * torch.randn(frames, 2, 3, generator=torch.Generator().manual_seed(seed))
    return View(Camera.static(frames, 2.5 * SIZE, SIZE, SIZE), head, motion, HeadRig.of(model, head.identity))


def upright_view() -> View:
    eye = torch.eye(3)[None]
    ahead = torch.tensor([[0.0, 0.0, -1.0]])
    return view_of(
        rotation=eye, translation=ahead, torso_rotation=eye.clone(), torso_translation=ahead.clone()
    )


def face_points(view: View) -> dict[str, torch.Tensor]:
    """World places of the nose's tip and the top of the head, and the points of the torso."""
    model = shared_head_model()
    posed, rest = model(view.head), model.template_vertices
    torso = model.skinning_weights[:, model.joint("root")] > 0.999
    return {
        "nose": posed.vertices[0, rest[:, 2].argmax()],
        "top": posed.vertices[0, rest[:, 1].argmax()],
        "torso": posed.vertices[0, torso],
    }


@pytest.mark.parametrize(
    ("angles", "point", "axis", "sign"),
    [
        ({"yaw": 20}, "nose", 0, 1),  # to the subject's left, +x
        ({"yaw": -20}, "nose", 0, -1),
        ({"pitch": 15}, "nose", 1, 1),
        ({"pitch": -15}, "nose", 1, -1),
        ({"roll": 15}, "top", 0, 1),
        ({"roll": -15}, "top", 0, -1),
    ],
)
def test_the_head_turns_the_way_the_signs_say(angles: dict, point: str, axis: int, sign: int) -> None:
    view = upright_view()
    before, after = face_points(view), face_points(view.turned(**angles))
    moved = after[point] - before[point]
    assert sign * moved[axis] > 0.02, moved
    assert torch.equal(after["torso"], before["torso"])


def test_the_middle_of_the_neck_stays_and_the_head_turns_rigidly_about_it() -> None:
    """By the angle that was given, in any pose."""
    model = shared_head_model()
    for seed in range(5):
        view = view_of(seed=seed)
        turned = view.turned(yaw=-40, pitch=25, roll=10)
        heads = (view.head, turned.head)
        before, after = (head.rotation[0] @ view.rig.neck + head.translation[0] for head in heads)
        torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
        angles = torch.tensor([[0.0, -40.0, 0.0], [-25.0, 0.0, 0.0], [0.0, 0.0, -10.0]])
        expected = axis_angle_to_matrix(angles.deg2rad())
        relative = view.head.rotation[0].T @ turned.head.rotation[0]
        torch.testing.assert_close(relative, expected[0] @ expected[1] @ expected[2], atol=1e-5, rtol=0)
        joints = model.identity_joints(view.head.identity)
        middle = (joints[model.joint("neck")] + joints[model.joint("head")]) / 2
        torch.testing.assert_close(view.rig.neck, middle)
        for name in ("torso_rotation", "torso_translation", "expression", "joint_rotations"):
            assert torch.equal(getattr(turned.head, name), getattr(view.head, name)), name
        assert torch.equal(turned.torso_motion, view.torso_motion)


def test_a_still_head_is_still_when_it_is_turned() -> None:
    assert view_of().turned(yaw=30).head.angular_velocity is None


def test_a_moving_head_moves_the_same_when_it_is_turned() -> None:
    """The velocity by differences of the turned poses, about the head's own axes."""
    step, velocity = 1e-3, torch.tensor([[0.7, -1.1, 0.4]])
    now = view_of(angular_velocity=velocity)
    then = replace(now.head, rotation=now.head.rotation @ axis_angle_to_matrix(velocity * step))
    first, second = (replace(now, head=head).turned(yaw=50, roll=-20).head for head in (now.head, then))
    relative = (first.rotation.mT @ second.rotation)[0].double()
    skew = (relative - relative.T) / 2
    found = torch.stack([skew[2, 1], skew[0, 2], skew[1, 0]]) / step
    torch.testing.assert_close(found.float(), first.angular_velocity[0], atol=2e-3, rtol=1e-3)


def test_an_expression_by_name_moves_what_the_name_says() -> None:
    model = shared_head_model()
    view = view_of(3, expression=torch.zeros(3, model.num_expression))
    opened = view.with_expression(jawOpen=0.4, eyeBlinkLeft=1)
    expected = torch.zeros(3, model.num_expression)
    expected[:, model.expression_index("jawOpen")] = 0.4
    expected[:, model.expression_index("eyeBlinkLeft")] = 1
    assert torch.equal(opened.head.expression, expected)
    assert not view.head.expression.any()
    further = opened.with_expression(jawOpen=torch.tensor(0.1)).head.expression
    assert further[:, model.expression_index("jawOpen")].tolist() == pytest.approx([0.1] * 3)
    assert further[:, model.expression_index("eyeBlinkLeft")].tolist() == [1] * 3
    opened = view.with_expression(jawOpen=0.4)
    moved = (model(opened.head).vertices - model(view.head).vertices)[0]
    # The mouth lies below the head joint's height plus the jaw's; it moves down in the head's own axes.
    farthest = moved.norm(dim=1).argmax()
    assert model.template_vertices[farthest, 1] < 0.02
    assert (moved @ view.head.rotation[0])[farthest, 1] < -0.005


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("jawopen", 0.4, "did you mean jawOpen?"),
        ("eyeBlink_L", 1, "did you mean eyeBlink"),
        ("mouthSmile", 1, "did you mean mouthSmile"),
        ("qqq", 1, "there are browDownLeft"),
        ("jawOpen", float("nan"), "finite"),
        ("jawOpen", -float("inf"), "finite"),
        ("jawOpen", "wide", "no number"),
        ("jawOpen", None, "no number"),
        ("jawOpen", torch.zeros(2), "no number"),
    ],
)
def test_a_wrong_expression_is_refused_in_one_line(name: str, value: object, words: str) -> None:
    with pytest.raises(UserError, match=name) as refused:
        view_of().with_expression(**{name: value})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_a_view_without_its_rig_cannot_do() -> None:
    view = replace(view_of(), rig=None)
    for change in (
        lambda: view.turned(yaw=1),
        lambda: view.with_expression(jawOpen=1),
        lambda: view.seen_from(view.camera),
    ):
        with pytest.raises(UserError, match="rig"):
            change()
    with pytest.raises(UserError, match="yaw=nan"):
        view_of().turned(yaw=float("nan"))


def reference_places(view: View, points: torch.Tensor) -> torch.Tensor:
    """``[F, N, 2]`` where in the reference torso image the layer shows world points, as pixels see them."""
    pixels, _ = view.camera.project(points)
    share = pixels / torch.tensor([view.camera.width, view.camera.height])
    return share @ view.torso_motion[..., :2].mT + view.torso_motion[:, None, :, 2]


@pytest.mark.parametrize("size", [(SIZE, SIZE), (320, 120)])
def test_the_same_camera_at_any_size_moves_no_torso(size: tuple[int, int]) -> None:
    view = view_of(2)
    found = view.seen_from(view.camera.resized(*size))
    torch.testing.assert_close(found.torso_motion, view.torso_motion, atol=1e-5, rtol=0)
    assert (found.camera.width, found.camera.height) == size
    assert found.head is view.head


def test_a_shifted_turned_or_zoomed_picture_takes_the_torso_along_exactly() -> None:
    """These cameras only map the picture affinely, so that every torso point keeps its place in the layer."""
    view = view_of()
    camera = view.camera
    roll = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.3]))
    rolled = camera.camera_to_world.clone()
    rolled[..., :3] = rolled[..., :3] @ roll
    cameras = (
        replace(camera, camera_to_world=rolled),
        replace(camera, intrinsics=camera.intrinsics * torch.tensor([1.7, 1.2, 0.8, 1.3])),
    )
    points = face_points(view)["torso"][None]
    for other in cameras:
        found = reference_places(view.seen_from(other), points)
        torch.testing.assert_close(found, reference_places(view, points), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("side", "up"), [(15, 0), (-15, 10), (30, 0), (0, -20)])
def test_from_the_side_the_collar_keeps_its_place(side: float, up: float) -> None:
    """As well as one affine map can, by brute force, and far better than with the layer left alone."""
    view = upright_view()
    target = view.head.translation[0]
    camera = moved_around(view.camera, target, torch.tensor([float(side)]), torch.tensor([float(up)]))
    head = view.head
    points = view.rig.collar[None] @ head.torso_rotation.mT + head.torso_translation[:, None]
    before = reference_places(view, points)

    def shift(other: View) -> float:
        # The layer's own map is undone, so that distances are those of the filmed picture.
        apart = (reference_places(other, points) - before) @ torch.linalg.inv(view.torso_motion[..., :2]).mT
        return float(apart.norm(dim=-1).square().mean().sqrt())

    found = view.seen_from(camera)
    left, fitted = shift(replace(view, camera=camera)), shift(found)
    assert fitted < 0.15 * left
    for row in range(2):
        for column in range(3):
            for step in (-1e-3, 1e-3):
                motion = found.torso_motion.clone()
                motion[0, :, column] += step * view.torso_motion[0, :, row]
                assert shift(replace(found, torso_motion=motion)) > fitted


def test_one_view_from_many_cameras_is_as_many_views() -> None:
    view = view_of()
    angles = torch.tensor([-10.0, 0.0, 10.0])
    cameras = moved_around(view.camera, view.head.translation[0], angles, torch.zeros(3))
    together = view.seen_from(cameras)
    assert len(together) == 3
    for frame in range(3):
        alone = view.seen_from(cameras.select([frame]))
        torch.testing.assert_close(together.torso_motion[frame], alone.torso_motion[0])
        torch.testing.assert_close(together.head.rotation[frame], view.head.rotation[0])
    with pytest.raises(UserError, match="2 cameras for 3 frames"):
        together.seen_from(cameras.select([0, 1]))


def test_a_camera_with_its_back_to_the_head_is_refused() -> None:
    view = view_of()
    centre = view.camera.camera_to_world[0, :, 3]
    behind = moved_around(view.camera, centre, torch.tensor([180.0]), torch.zeros(1))
    with pytest.raises(UserError, match="behind the camera"):
        view.seen_from(behind)


def test_the_rig_of_a_model_without_a_torso_pose_follows_the_head() -> None:
    view = view_of(torso_rotation=None, torso_translation=None)
    found = view.turned(yaw=20).seen_from(view.camera)
    torch.testing.assert_close(found.torso_motion, view.torso_motion, atol=1e-5, rtol=0)
    assert found.head.torso_rotation is None
