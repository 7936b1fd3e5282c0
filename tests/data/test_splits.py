import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, euler_angles_to_matrix

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.splits import (
    REACH,
    SPLIT_PROTOCOL,
    angular_velocity,
    assign_splits,
    sampled_sequence,
    split_coverage,
    spread_evenly,
    with_angular_velocity,
)
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters


def random_expression(frames: int) -> torch.Tensor:
    return torch.rand(frames, 5, generator=torch.Generator().manual_seed(frames))


def holes(frames: int) -> torch.Tensor:
    """Some frames without a face, among them the first and the last."""
    weights = torch.ones(frames)
    weights[::7] = 0
    weights[-1] = 0
    weights[frames // 2 : frames // 2 + frames // 10] = 0
    return weights


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 10, 39, 40, 41, 100, 400])
@pytest.mark.parametrize("fps", [10.0, 25.0, 60.0])
@pytest.mark.parametrize("weights", [torch.ones, holes])
def test_what_always_holds(frames, fps, weights):
    weights = weights(frames)
    if weights.sum() == 0:
        weights[0] = 1
    splits = assign_splits(weights, fps, random_expression(frames))
    assert splits["train"]
    for members in splits.values():
        assert members
        assert members == sorted(set(members))
        assert all(weights[i] == 1 for i in members)
    disjoint = [set(members) for name, members in splits.items() if name != "unseen_expression"]
    assert len(set.union(*disjoint)) == sum(map(len, disjoint))
    tests = set(splits.get("blocks", [])) | set(splits.get("temporal", []))
    assert set(splits.get("unseen_expression", [])) <= tests


def test_tiny_clips():
    def split(frames):
        return assign_splits(torch.ones(frames), 25, random_expression(frames))

    assert split(1) == {"train": [0]}
    assert split(3) == {"train": [0, 1], "temporal": [2], "unseen_expression": [2]}
    ten = split(10)
    assert ten["temporal"] == [8, 9]
    assert len(ten["val"]) == 1
    assert len(ten["train"]) == 7


def test_a_clip_of_400_frames():
    splits = assign_splits(torch.ones(400), 25, random_expression(400))
    assert splits["temporal"] == list(range(320, 400))
    blocks = np.array(splits["blocks"])
    runs = np.split(blocks, np.flatnonzero(np.diff(blocks) > 1) + 1)
    assert [len(run) for run in runs] == [20, 20, 20]
    assert len(splits["val"]) == 10
    train = np.array(splits["train"])
    for held in (*blocks, *splits["val"], 320):
        assert np.abs(train - held).min() > 0.2 * 25
    # Held out: 60 + 10; gaps: 4 runs, two sides, 5 frames, and once before the temporal ones.
    assert len(train) == 320 - 70 - 40 - 5
    assert len(splits["unseen_expression"]) == 35


def test_gaps_are_counted_in_time_not_in_tracked_frames():
    weights = torch.ones(400)
    weights[torch.arange(400) % 2 == 1] = 0
    splits = assign_splits(weights, 25, random_expression(400))
    held = np.array(splits["blocks"] + splits["val"] + splits["temporal"])
    assert np.abs(np.subtract.outer(splits["train"], held)).min() > 5


def test_unseen_expression_is_the_farthest_quarter_by_brute_force():
    expression = random_expression(200)
    splits = assign_splits(torch.ones(200), 25, expression)
    tests = sorted(splits["blocks"] + splits["temporal"])
    distance = {i: min(float((expression[i] - expression[j]).norm()) for j in splits["train"]) for i in tests}
    ranked = sorted(tests, key=lambda i: -distance[i])
    assert splits["unseen_expression"] == sorted(ranked[: len(splits["unseen_expression"])])
    assert len(splits["unseen_expression"]) == round(len(tests) / 4)


def test_no_tracked_frame():
    with pytest.raises(UserError, match="no frame"):
        assign_splits(torch.zeros(5), 25, random_expression(5))


def test_coverage_by_hand():
    head = HeadParameters.neutral(4, 2, 3, 1)
    degrees = torch.tensor([[0.0, 0, 0], [10, 0, 0], [-40, 5, 0], [10, 0, 20]])
    head.rotation = euler_angles_to_matrix(torch.deg2rad(degrees), "YXZ")
    head.expression = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 4], [1, 0, 0]])
    coverage = split_coverage({"train": [0, 1], "temporal": [2, 3]}, head)
    assert coverage["train"]["frames"] == 2
    assert coverage["train"]["expression_distance_max"] == 0
    assert coverage["train"]["rotation_distance_max"] == pytest.approx(0, abs=1e-2)
    test = coverage["temporal"]
    expected = {
        "yaw_min": -40,
        "yaw_max": 10,
        "pitch_min": 0,
        "pitch_max": 5,
        "roll_max": 20,
        "expression_distance_max": 5,
        "expression_distance_mean": 2.5,
        # Frame 3 differs from frame 1 by a roll of 20 degrees, frame 2 from frame 0 by about 40.3.
        "rotation_distance_mean": (20 + np.degrees(np.arccos((_trace(head, 0, 2) - 1) / 2))) / 2,
    }
    for name, value in expected.items():
        assert test[name] == pytest.approx(value, abs=0.02), name


def _trace(head: HeadParameters, first: int, second: int) -> float:
    return float(torch.trace(head.rotation[first].T @ head.rotation[second]))


SPLITS = {"train": [0, 1, 2, 5], "val": [3], "blocks": [6], "temporal": [7, 8, 9], "unseen_expression": [9]}


@pytest.fixture
def sequence(tmp_path, tiny_video):
    tiny_video(frames=10, splits=SPLITS).write(tmp_path / "set")
    return PartnerfaceReader(tmp_path / "set").read()


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [2]), (2, [2, 9]), (3, [2, 5, 9]), (4, [2, 4, 5, 9]), (9, [2, 4, 5, 9])]
)
def test_spread(count: int, expected: list[int]) -> None:
    assert spread_evenly([2, 4, 5, 9], count) == expected


def test_the_protocol_in_words_is_that_of_the_frames() -> None:
    """Every figure in the text, against the frames of a clip of 400 at 25 frames a second."""
    splits = assign_splits(torch.ones(400), 25, random_expression(400))
    before, tests = splits["temporal"][0], len(splits["temporal"]) + len(splits["blocks"])
    blocks, train = np.array(splits["blocks"]), np.array(splits["train"])
    runs = np.split(blocks, np.flatnonzero(np.diff(blocks) > 1) + 1)
    gap = np.abs(np.subtract.outer(train, [*blocks, *splits["val"], *splits["temporal"]])).min()
    measured = {
        # The first frame of training after a run lies a gap and one frame behind it.
        "train": [(gap - 1) / 25],
        "val": [len(splits["val"]) / 4, 100 * (np.mean(splits["val"]) + 0.5) / before],
        "blocks": [len(runs[0]) / 4, *(100 * (run.mean() + 0.5) / before for run in runs)],
        "temporal": [len(splits["temporal"]) / 4],
        "unseen_expression": [100 * len(splits["unseen_expression"]) / tests],
    }
    assert measured.keys() == splits.keys() == SPLIT_PROTOCOL.keys()
    for name, figures in measured.items():
        stated = [float(text) for text in re.findall(r"([\d.]+) (?:%|s\b)", SPLIT_PROTOCOL[name])]
        assert stated == pytest.approx(figures, abs=0.01), name


def test_samples_stand_beside_the_splits_and_leave_training_alone(sequence) -> None:
    sampled = sampled_sequence(sequence, 2, None)
    assert sampled.splits == {
        **SPLITS,
        "blocks_sample": [6],
        "temporal_sample": [7, 9],
        "unseen_expression_sample": [9],
    }
    assert sequence.splits == SPLITS
    assert sampled.split_protocol["temporal"] == "the last two"
    assert sampled.split_protocol["temporal_sample"] == "up to 2 frames of temporal, evenly spread"


def test_only_the_splits_asked_for_are_tested(sequence) -> None:
    sampled = sampled_sequence(sequence, 2, ["temporal_sample"])
    assert sampled.test_splits == ["temporal_sample"]
    assert sampled.splits == {"train": [0, 1, 2, 5], "val": [3], "temporal_sample": [7, 9]}
    assert list(sampled.split_protocol) == ["temporal_sample"]


def test_nothing_asked_for_changes_nothing(sequence) -> None:
    assert sampled_sequence(sequence, 0, None) == sequence


def test_a_split_that_does_not_exist(sequence) -> None:
    with pytest.raises(
        UserError, match=r"--data.test_splits: no split spatial; choose from blocks, temporal"
    ):
        sampled_sequence(sequence, 0, ["spatial"])


FPS = 25.0


def turning(axis: tuple[float, float, float], speed: float, frames: int) -> torch.Tensor:
    """A head that starts askew and turns at one speed about an axis of its own."""
    time = torch.arange(frames) / FPS
    start = axis_angle_to_matrix(torch.tensor([0.3, -0.8, 0.5]))
    return start @ axis_angle_to_matrix(speed * time[:, None] * torch.tensor(axis))


def velocity(
    rotation: torch.Tensor, trusted: object = None, access: object = None, times: torch.Tensor | None = None
) -> torch.Tensor:
    trusted = torch.ones(len(rotation), dtype=torch.bool) if trusted is None else torch.tensor(trusted)
    levels = torch.zeros(len(rotation), dtype=torch.long) if access is None else torch.tensor(access)
    return angular_velocity(rotation, FPS, trusted, levels, times)


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


def test_what_lies_beyond_a_gap_in_time_says_nothing_and_uneven_frames_have_their_own_pace():
    """Seconds that were not used lie after frame 5, in which the head was turned by half a radian."""
    times = torch.cumsum(torch.tensor([0.0, 1.2, 0.8, 1.4, 0.6, 1.0, 200.0, 0.9, 1.1, 1.0]), 0).double() / FPS
    later = torch.arange(10) > 5
    angle = 1.7 * torch.where(later, times - 199 / FPS, times).float() + 0.5 * later
    axis = torch.tensor([0.0, 0.6, -0.8])
    found = velocity(axis_angle_to_matrix(angle[:, None] * axis), times=times)
    torch.testing.assert_close(found, 1.7 * axis.expand(10, 3), atol=1e-3, rtol=0)
    alone = velocity(turning((0.0, 1.0, 0.0), 1.0, 3), times=torch.tensor([0.0, 9.0, 18.0]))
    assert not alone.any()


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
