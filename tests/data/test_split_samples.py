"""Samples of test splits against frames picked by hand."""

import pytest

from partnerface.data.readers.partnerface import PartnerfaceReader
from partnerface.data.split_samples import sampled_sequence, spread_evenly
from partnerface.user_error import UserError

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


def test_samples_stand_beside_the_splits_and_leave_training_alone(sequence) -> None:
    sampled = sampled_sequence(sequence, 2, None)
    assert sampled.splits == {
        **SPLITS,
        "blocks_sample": [6],
        "temporal_sample": [7, 9],
        "unseen_expression_sample": [9],
    }
    assert sequence.splits == SPLITS


def test_only_the_splits_asked_for_are_tested(sequence) -> None:
    sampled = sampled_sequence(sequence, 2, ["temporal_sample"])
    assert sampled.test_splits == ["temporal_sample"]
    assert sampled.splits == {"train": [0, 1, 2, 5], "val": [3], "temporal_sample": [7, 9]}


def test_nothing_asked_for_changes_nothing(sequence) -> None:
    assert sampled_sequence(sequence, 0, None) == sequence


def test_a_split_that_does_not_exist(sequence) -> None:
    with pytest.raises(
        UserError, match=r"--data.test_splits: no split spatial; choose from blocks, temporal"
    ):
        sampled_sequence(sequence, 0, ["spatial"])
