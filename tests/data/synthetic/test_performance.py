"""The script: splits, limits, and expressions that are really new in the unseen part."""

import pytest
import torch
from pytorch3d.transforms import matrix_to_euler_angles

from partnerface.data.splits import nearest_distance
from partnerface.data.synthetic.performance import (
    PITCH_LIMIT,
    ROLL_LIMIT,
    YAW_LIMIT,
    perform,
    split_frames,
)
from partnerface.head_models.anny import AnnyHead


@pytest.fixture(scope="module")
def model():
    return AnnyHead()


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 17, 240])
def test_splits_cover_every_frame_once(frames):
    splits = split_frames(frames)
    assert sorted(f for part in splits.values() for f in part) == list(range(frames))
    assert splits["train"][0] == 0
    assert all(splits.values())


def test_default_shares():
    splits = {name: len(part) / 240 for name, part in split_frames(240).items()}
    assert splits["train"] == pytest.approx(0.70, abs=0.01)
    assert splits["val"] < 0.05
    assert list(splits) == ["train", "val", "temporal", "unseen_expression"]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_unseen_expressions_are_farther_and_larger_than_temporal_ones(model, seed):
    performance = perform(model, 240, seed)
    parts = {name: performance.expression[frames] for name, frames in performance.splits.items()}
    unseen = nearest_distance(parts["unseen_expression"], parts["train"])
    temporal = nearest_distance(parts["temporal"], parts["train"])
    assert unseen.median() > 2 * temporal.median()
    larger = parts["unseen_expression"].amax(0) > parts["train"].amax(0) + 0.1
    assert larger.sum() >= 5
    # New combinations and amplitudes of actions that training shows, not new actions.
    new = parts["unseen_expression"].amax(0) > 0.05
    assert (parts["train"].amax(0)[new] > 0.05).all()


@pytest.mark.parametrize("frames", [6, 40, 240])
def test_unseen_expressions_come_at_head_poses_near_those_of_training(model, frames):
    performance = perform(model, frames, 0)
    angles = {name: performance.head_angles[part] for name, part in performance.splits.items()}
    distance = nearest_distance(angles["unseen_expression"], angles["train"])
    assert torch.rad2deg(distance).max() < 6
    if frames == 240:
        assert angles["unseen_expression"][:, 1].abs().max() > 0.6 * YAW_LIMIT


@pytest.mark.parametrize("seed", [0, 3])
def test_tracks_stay_inside_their_limits_and_use_them(model, seed):
    performance = perform(model, 240, seed)
    assert performance.expression.min() >= 0
    assert performance.expression.max() <= 1
    limits = torch.tensor([PITCH_LIMIT, YAW_LIMIT, ROLL_LIMIT])
    reached = performance.head_angles[performance.splits["train"]].abs().amax(0)
    assert (performance.head_angles.abs() <= limits).all()
    assert (reached > 0.5 * limits).all()
    blink = performance.expression[performance.splits["train"], model.expression_index("eyeBlinkLeft")]
    assert blink.max() > 0.9
    assert blink.median() < 0.1


def test_head_parameters_have_the_tracker_form(model):
    performance = perform(model, 30, 0)
    head = performance.head_parameters(model, torch.zeros(model.num_identity))
    yaw_pitch_roll = matrix_to_euler_angles(head.rotation, "YXZ")
    torch.testing.assert_close(yaw_pitch_roll[:, [1, 0, 2]], performance.head_angles, atol=1e-5, rtol=0)
    eye = torch.eye(3)
    for name in ("root", "neck", "head", "jaw"):
        assert torch.equal(head.joint_rotations[:, model.joint(name)], eye.expand(30, 3, 3))
    assert not torch.allclose(head.joint_rotations[:, model.joint("eye_left")], eye.expand(30, 3, 3))
    assert torch.equal(head.torso_rotation, eye.expand(30, 3, 3))
    assert head.torso_translation.std(0).max() == 0


def test_seeds_differ_and_repeat(model):
    first, again, other = (perform(model, 20, seed) for seed in (0, 0, 1))
    assert torch.equal(first.expression, again.expression)
    assert torch.equal(first.head_angles, again.head_angles)
    assert not torch.allclose(first.expression, other.expression)
