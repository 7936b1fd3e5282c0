import math
from pathlib import Path

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.data.head_motion import REACH, angular_velocity, with_angular_velocity

FPS = 25.0


def turning(axis: tuple[float, float, float], speed: float, frames: int) -> torch.Tensor:
    """A head that starts askew and turns at one speed about an axis of its own."""
    time = torch.arange(frames) / FPS
    start = axis_angle_to_matrix(torch.tensor([0.3, -0.8, 0.5]))
    return start @ axis_angle_to_matrix(speed * time[:, None] * torch.tensor(axis))


def velocity(rotation: torch.Tensor, trusted: object = None, access: object = None) -> torch.Tensor:
    trusted = torch.ones(len(rotation), dtype=torch.bool) if trusted is None else torch.tensor(trusted)
    levels = torch.zeros(len(rotation), dtype=torch.long) if access is None else torch.tensor(access)
    return angular_velocity(rotation, FPS, trusted, levels)


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 0.6, -0.8)])
def test_a_steady_turn_has_its_speed_at_every_frame(axis):
    found = velocity(turning(axis, 1.7, 9))
    torch.testing.assert_close(found, 1.7 * torch.tensor([axis]).expand(9, 3), atol=1e-4, rtol=0)


def test_a_swing_has_the_derivative_of_its_angle():
    time = torch.arange(100) / FPS
    rate = 2 * math.pi * 0.5
    angle = 0.5 * torch.sin(rate * time)
    found = velocity(axis_angle_to_matrix(angle[:, None] * torch.tensor([0.0, 1.0, 0.0])))
    expected = 0.5 * rate * torch.cos(rate * time)
    assert (found[REACH:-REACH, 1] - expected[REACH:-REACH]).abs().max() < 0.02 * 0.5 * rate
    assert found[:, [0, 2]].abs().max() < 1e-5


def test_noise_of_the_tracker_counts_for_less_than_in_a_difference():
    torch.manual_seed(0)
    noise = axis_angle_to_matrix(0.002 * torch.randn(2000, 3))
    found = velocity(turning((0.0, 1.0, 0.0), 0.4, 2000) @ noise)
    # Least squares over five frames: sigma * fps / sqrt(10).
    assert float((found - torch.tensor([0.0, 0.4, 0.0])).std()) == pytest.approx(
        0.002 * FPS / 10**0.5, rel=0.1
    )


def test_a_frame_is_told_by_those_it_may_know_alone():
    rotation = turning((1.0, 0.0, 0.0), 1.0, 13)
    access = [0, 0, 0, 0, 1, 1, 1, 0, 0, 2, 2, 0, 0]
    torch.testing.assert_close(
        velocity(rotation, access=access), torch.tensor([[1.0, 0.0, 0.0]]).expand(13, 3), atol=1e-4, rtol=0
    )
    expected = velocity(rotation, access=access)
    for hidden in (1, 2):
        torch.manual_seed(hidden)
        poisoned = rotation.clone()
        poisoned[[k for k in range(13) if access[k] == hidden]] = axis_angle_to_matrix(torch.randn(3))
        found = velocity(poisoned, access=access)
        lower = [k for k in range(13) if access[k] < hidden]
        assert torch.equal(found[lower], expected[lower])
        assert not torch.equal(found, expected)


def test_frames_without_a_tracked_head_do_not_count_whatever_they_hold():
    rotation = turning((0.0, 0.0, 1.0), -0.9, 9)
    trusted = [True, True, False, True, True, True, False, True, True]
    rotation[[2, 6]] = float("nan")
    found = velocity(rotation, trusted)
    expected = torch.tensor([[0.0, 0.0, -0.9]]) * torch.tensor(trusted)[:, None]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_frame_stands_still_and_two_tell_their_difference(frames):
    found = velocity(turning((0.0, 1.0, 0.0), 0.5, frames))
    expected = torch.tensor([[0.0, 0.5 * (frames - 1), 0.0]]).expand(frames, 3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_no_pose_of_a_held_out_frame_reaches_training_and_none_of_a_test_frame_validation(
    tmp_path: Path, tiny_video
):
    splits = {"train": [0, 1, 2], "val": [3, 4], "temporal": [5]}
    sequence = tiny_video(splits=splits).write(tmp_path / "set")
    before = with_angular_velocity(sequence).head.angular_velocity
    assert before.abs().amax(1).min() > 0
    for name, untouched in (("temporal", [0, 1, 2, 3, 4]), ("val", [0, 1, 2])):
        sequence.head.rotation[splits[name]] = torch.eye(3)
        after = with_angular_velocity(sequence).head.angular_velocity
        assert torch.equal(before[untouched], after[untouched])
        assert not torch.equal(before, after)
