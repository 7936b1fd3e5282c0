"""A performance on another person: formulas in closed form, and an avatar's own video as its own driver."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.data.drivers.motions import talk
from partnerface.data.drivers.performance import make_performance
from partnerface.data.drivers.tracked import tracked_recording
from partnerface.data.drivers.transfer import (
    ExpressionRange,
    TransferredPerformance,
    TransferSettings,
    camera_axes,
    carry_expression,
)
from partnerface.data.splits import with_angular_velocity
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.errors import UserError
from tests.avatar.test_avatar import make_avatar
from tests.contracts.driver_contract import DriverContract
from tests.contracts.subjects import shared_head_model
from tests.data.drivers.test_performance import recording
from tests.views import tensors_of, views_of

HEAD = shared_head_model()
LOOSE = TransferSettings(pose="absolute", range=math.inf, torso="tracked", keep_distance=False)


@pytest.fixture(scope="module")
def sequence(synthetic_dataset):
    """With a torso that moves with the head, as in a real video."""
    still = with_angular_velocity(SyntheticReader(synthetic_dataset, frames=24, size=32).read())
    motion = still.torso_motion.clone()
    motion[:, 0, 2] += 0.5 * still.head.translation[:, 0]
    motion[:, 1, 1] += 0.2 * still.head.translation[:, 1]
    head = still.head
    shifted = head.torso_translation + 0.7 * (head.translation - head.translation[0])
    return replace(still, torso_motion=motion, head=replace(head, torso_translation=shifted))


@pytest.fixture(scope="module")
def avatar(sequence):
    made = make_avatar()
    made.adapt_to(sequence)
    return made.eval()


@pytest.fixture
def own(avatar, sequence):
    """The avatar's own video as a performance."""
    neutral = avatar.default_view().head.expression[0]
    return make_performance(tracked_recording(sequence, HEAD, own=(avatar.identity, neutral)), HEAD)


class TestTransferredPerformance(DriverContract):
    @pytest.fixture(autouse=True)
    def _take(self, avatar):
        self.avatar = avatar.driven()

    def make(self):
        recorded = replace(recording(6), translation=recording(6).translation - torch.tensor([0, 0, 20.0]))
        return TransferredPerformance(make_performance(recorded, HEAD, neutral="4"), self.avatar)

    def neutral(self):
        return 4, self.avatar.view.head.expression[0]


def limits(seed: int = 0, size: int = 5) -> ExpressionRange:
    """A box along axes of any direction; each coefficient has room."""
    draws = np.random.default_rng(seed)
    axes = torch.from_numpy(np.linalg.qr(draws.standard_normal((size, size)))[0]).float()
    low, high = (torch.from_numpy(draws.uniform(0.1, 1, size)).float() for _ in range(2))
    low[2], high[3] = 0.0, 0.0
    wide = torch.full((size,), 50.0)
    return ExpressionRange(torch.from_numpy(draws.uniform(0, 1, size)).float(), axes, -low, high, -wide, wide)


def test_no_expression_is_the_avatars_neutral_to_the_bit():
    box = limits()
    for factor in (0.3, 1.0, math.inf):
        assert torch.equal(carry_expression(torch.zeros(3, 5), box, factor), box.neutral.expand(3, -1))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_inside_the_box_nothing_changes(factor):
    box = limits()
    share = torch.rand(200, 5, generator=torch.Generator().manual_seed(0))
    inside = (factor * (box.low + share * (box.high - box.low))) @ box.axes
    torch.testing.assert_close(carry_expression(inside, box, factor), box.neutral + inside, atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_beyond_the_box_a_coordinate_follows_the_formula_grows_and_is_bounded(factor):
    box = limits()
    for axis in range(5):
        coordinate = torch.linspace(-30, 30, 601)
        carried = carry_expression(coordinate[:, None] * box.axes[axis], box, factor) - box.neutral
        found = carried @ box.axes.T
        low, high = factor * float(box.low[axis]), factor * float(box.high[axis])
        margin = 0.25 * (high - low) + 0.02
        expected = [
            high + margin * math.tanh((c - high) / margin)
            if c > high
            else low - margin * math.tanh((low - c) / margin)
            if c < low
            else c
            for c in coordinate.tolist()
        ]
        np.testing.assert_allclose(found[:, axis].numpy(), expected, atol=2e-5)
        # The other axes stay out of it.
        others = found[:, [i for i in range(5) if i != axis]]
        assert float(others.abs().max()) < 2e-5
        assert (found[:, axis].diff() > -2e-5).all()
        assert found[-1, axis] <= high + margin + 1e-5


def test_coefficients_keep_to_their_own_limits():
    box = replace(limits(), least=torch.zeros(5), greatest=torch.ones(5))
    far = 10 * torch.randn(100, 5, generator=torch.Generator().manual_seed(1))
    carried = carry_expression(far, box)
    assert carried.min() >= 0
    assert carried.max() <= 1
    torch.testing.assert_close(carry_expression(far, box, math.inf), box.neutral + far)


def test_the_box_is_that_of_the_training_expressions(avatar, sequence):
    """Every training expression is inside and touches the box along the axes; numpy finds the same axes."""
    box = avatar.driven().limits
    train = sequence.head.expression[sequence.splits["train"]]
    along = ((train - box.neutral) @ box.axes.T).numpy()
    np.testing.assert_allclose(along.min(0).clip(max=0), box.low.numpy(), atol=1e-6)
    np.testing.assert_allclose(along.max(0).clip(min=0), box.high.numpy(), atol=1e-6)
    torch.testing.assert_close(box.axes @ box.axes.T, torch.eye(len(box.neutral)), atol=1e-5, rtol=0)
    spread = np.sort(along.var(0))[::-1]
    singular = np.linalg.svd(train.numpy() - train.numpy().mean(0), compute_uv=False) ** 2 / len(train)
    np.testing.assert_allclose(spread[: len(singular)], singular, atol=1e-5)
    carried = carry_expression(train - box.neutral, box)
    torch.testing.assert_close(carried, train, atol=1e-5, rtol=0)


def test_an_avatars_own_video_drives_it_to_its_own_views(own, avatar, sequence):
    driver = TransferredPerformance(own, avatar.driven(), LOOSE)
    assert len(driver) == len(sequence)
    # Training frames have velocities that know of no held-out frame; those of test frames are the same.
    for frame in sequence.splits["temporal"] + sequence.splits["unseen_expression"]:
        found, expected = tensors_of(driver[frame]), tensors_of(views_of(sequence, [frame]))
        for name, value in expected.items():
            if name != "identity":
                torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)
    assert torch.equal(driver[0].head.identity, avatar.identity)


def test_a_view_of_a_driver_can_be_changed_by_name_and_by_angle(own, avatar):
    view = TransferredPerformance(own, avatar.driven(), LOOSE)[10]
    changed = view.with_expression(jawOpen=1).turned(yaw=20)
    assert changed.head.expression[0, avatar.head_model.expression_index("jawOpen")] == 1
    neck = avatar.rig().neck
    before, after = (v.head.rotation[0] @ neck + v.head.translation[0] for v in (view, changed))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    assert (changed.head.rotation - view.head.rotation).abs().max() > 0.1


@pytest.mark.parametrize("settings", [LOOSE, TransferSettings()], ids=["as tracked", "as usual"])
def test_a_driver_of_another_shape_leaves_the_avatar_its_own(avatar, sequence, settings):
    """Its torso is a view of that person, identity and all."""
    generator = torch.Generator().manual_seed(0)
    shape = sequence.head.identity + torch.randn(sequence.head.identity.shape, generator=generator)
    stranger = replace(sequence, head=replace(sequence.head, identity=shape))
    performance = make_performance(tracked_recording(stranger, HEAD), HEAD)
    driver = TransferredPerformance(performance, avatar.driven(), settings)
    assert torch.equal(driver.views.head.identity, avatar.identity)
    assert torch.equal(driver[0].head.identity, avatar.identity)


def test_an_avatar_of_before_the_range_was_kept_loads_and_keeps_to_the_range_of_each_coefficient(
    avatar, sequence
):
    new = ("expression_axes", "axis_low", "axis_high", "torso_response", "pose_low", "pose_high")
    state = {k: v for k, v in avatar.state_dict().items() if k.rpartition(".")[2] not in new}
    assert len(state) == len(avatar.state_dict()) - 6
    old = make_avatar(seed=3)
    old.load_state_dict(state)
    box = old.driven().limits
    train = sequence.head.expression[sequence.splits["train"]]
    torch.testing.assert_close(box.neutral + box.low, train.amin(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(box.neutral + box.high, train.amax(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(carry_expression(train - box.neutral, box), train, atol=1e-6, rtol=0)
    assert not old.driven().torso_response.any()


def test_relative_pose_is_the_performers_motion_about_the_avatars_mean(avatar):
    """Whatever the performer's own mean pose: against scipy, at a fixed distance."""
    recorded, person = recording(8), avatar.driven()
    driver = TransferredPerformance(make_performance(recorded, HEAD), person)
    turns = Rotation.from_matrix(recorded.rotation.numpy())
    relative = turns.mean().inv() * turns
    expected = Rotation.from_matrix(person.mean_rotation.numpy()) * relative
    np.testing.assert_allclose(driver.views.head.rotation.numpy(), expected.as_matrix(), atol=1e-5)
    moved = recorded.translation - recorded.translation.mean(0)
    shift = (driver.views.head.translation - person.mean_translation) @ camera_axes(person.view.camera)[0]
    torch.testing.assert_close(shift[:, :2], moved[:, :2], atol=1e-5, rtol=0)
    torch.testing.assert_close(shift[:, 2], torch.zeros(8), atol=1e-5, rtol=0)
    free = TransferredPerformance(
        make_performance(recorded, HEAD), person, TransferSettings(keep_distance=False)
    )
    shift = (free.views.head.translation - person.mean_translation) @ camera_axes(person.view.camera)[0]
    torch.testing.assert_close(shift, moved, atol=1e-5, rtol=0)


def test_absolute_pose_keeps_the_place_in_the_picture_and_the_distance(avatar):
    person = avatar.driven()
    recorded = replace(recording(5), translation=torch.tensor([[0.1, 0.05, -2.0]]).repeat(5, 1))
    settings = TransferSettings(pose="absolute")
    driver = TransferredPerformance(make_performance(recorded, HEAD), person, settings)
    camera = person.view.camera
    depth = camera.world_to_camera(person.mean_translation[None, None])[0, 0, 2]
    local = driver.views.camera.world_to_camera(driver.views.head.translation[:, None])[:, 0]
    torch.testing.assert_close(local[:, 2], depth.expand(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(local[:, 0] / local[:, 2], torch.full((5,), 0.05), atol=1e-5, rtol=0)
    # OpenCV's y points down.
    torch.testing.assert_close(local[:, 1] / local[:, 2], torch.full((5,), -0.025), atol=1e-5, rtol=0)


def test_a_still_head_does_not_move(avatar):
    driver = TransferredPerformance(
        make_performance(recording(6), HEAD), avatar.driven(), TransferSettings(pose="still")
    )
    head = driver.views.head
    assert torch.equal(head.rotation, head.rotation[:1].expand(6, 3, 3))
    assert torch.equal(head.translation, head.translation[:1].expand(6, 3))
    assert head.angular_velocity.abs().max() < 1e-5


def test_angular_velocity_is_that_of_the_carried_poses(avatar):
    """A head that turns by 90 degrees per second about its own axis, carried over."""
    rate, frames = math.pi / 2, 30
    angle = torch.arange(frames) / 25 * rate - 0.9
    turning = Rotation.from_rotvec(np.outer(angle, [0, 1, 0])).as_matrix()
    recorded = replace(recording(frames), rotation=torch.from_numpy(turning).float())
    velocity = TransferredPerformance(
        make_performance(recorded, HEAD), avatar.driven()
    ).views.head.angular_velocity
    torch.testing.assert_close(
        velocity, torch.tensor([0.0, rate, 0.0]).expand(frames, 3), atol=1e-4, rtol=1e-4
    )


def test_the_torso_follows_the_head_as_in_training_and_no_farther(own, avatar, sequence):
    person = avatar.driven()
    settings = replace(LOOSE, torso="follow")
    driver = TransferredPerformance(own, person, settings)
    train = sequence.splits["train"]
    expected = sequence.torso_motion[train]
    moved = float((expected - expected.mean(0)).abs().max())
    # Ridge regression gives a little less than all of it.
    assert float((driver.views.torso_motion[train] - expected).abs().max()) < 0.25 * moved
    far = replace(own, translation=own.translation + 100 * torch.randn(own.translation.shape))
    limit = person.torso_response[:6].abs() @ torch.maximum(person.pose_high.abs(), person.pose_low.abs())
    shown = TransferredPerformance(far, person, settings).views.torso_motion - person.view.torso_motion
    assert (shown.flatten(1).abs() <= limit + 1e-5).all()


def test_a_still_torso_stays(own, avatar):
    driver = TransferredPerformance(own, avatar.driven(), replace(LOOSE, torso="still"))
    default = avatar.default_view()
    assert torch.equal(driver.views.torso_motion, default.torso_motion.expand(len(own), 2, 3))
    assert torch.equal(
        driver.views.head.torso_translation, default.head.torso_translation.expand(len(own), 3)
    )


def test_what_cannot_be_carried_over_is_said(avatar):
    performance = make_performance(talk(HEAD, 1.0), HEAD)
    person = avatar.driven()
    with pytest.raises(UserError, match=r"--torso tracked: talk is not the avatar's own video"):
        TransferredPerformance(performance, person, TransferSettings(torso="tracked"))
    with pytest.raises(UserError, match="not those of the avatar's head model"):
        TransferredPerformance(replace(performance, expression_names=["smile"]), person)
    for wrong in ({"pose": "upright"}, {"torso": "none"}, {"range": 0.0}, {"range": math.nan}):
        with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
            TransferSettings(**wrong)
