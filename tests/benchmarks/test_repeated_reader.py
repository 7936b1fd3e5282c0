"""A short video again and again."""

import pytest
import torch

from partnerface.benchmarks.repeated_reader import RepeatedReader
from partnerface.data.readers.partnerface import PartnerfaceReader
from partnerface.user_error import UserError


def test_frames_repeat_in_order_and_splits_with_them(synthetic_dataset):
    once = PartnerfaceReader(synthetic_dataset).read()
    long = RepeatedReader(synthetic_dataset, 60).read()
    assert len(long) == len(long.camera) == len(long.head) == 60
    for t in (0, 23, 24, 59):
        i = t % 24
        assert long.image_paths[t] == once.image_paths[i]
        torch.testing.assert_close(long.head.expression[t], once.head.expression[i])
        for name, frames in once.splits.items():
            assert (t in long.splits[name]) == (i in frames)


def test_it_can_be_shorter(synthetic_dataset):
    assert len(RepeatedReader(synthetic_dataset, 5).read()) == 5


def test_no_frame_is_one_line(synthetic_dataset):
    with pytest.raises(UserError, match="at least one"):
        RepeatedReader(synthetic_dataset, 0)
