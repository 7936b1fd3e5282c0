import re

import numpy as np
import pytest
import torch
from pytorch3d.transforms import euler_angles_to_matrix

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.splits import (
    SPLIT_PROTOCOL,
    assign_splits,
    sampled_sequence,
    split_coverage,
    spread_evenly,
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
    for held in (*blocks, *splits["val"]):
        assert np.abs(train - held).min() > 0.2 * 25
    # Held out: 60 + 10; gaps: 4 runs, two sides, 5 frames.
    assert len(train) == 320 - 70 - 40
    assert len(splits["unseen_expression"]) == 35


def test_gaps_are_counted_in_time_not_in_tracked_frames():
    weights = torch.ones(400)
    weights[torch.arange(400) % 2 == 1] = 0
    splits = assign_splits(weights, 25, random_expression(400))
    held = np.array(splits["blocks"] + splits["val"])
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
    gap = np.abs(np.subtract.outer(train, [*blocks, *splits["val"]])).min()
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
