import pytest
import torch

from partnerface.data.sequence_values import checked_splits, neck_line_of, positive, printable_name, table


def test_values_that_are_right_come_back():
    assert positive("25", "fps") == 25
    assert printable_name("Клип 1") == "Клип 1"
    assert neck_line_of(0) == 0
    assert table({}, "x") == {}


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "\u202eevil", "x" * 201, 3])
def test_names_that_would_spoil_a_line(name):
    with pytest.raises(ValueError, match="'name' is not a line of text"):
        printable_name(name)


def test_unseen_expressions_may_be_of_another_test_but_no_frame_of_two():
    weights = torch.ones(6)
    splits = {"train": [0, 1], "temporal": [4, 5], "unseen_expression": [5]}
    assert checked_splits(splits, weights) == splits
    with pytest.raises(ValueError, match="split 'val' holds a frame twice or shares one"):
        checked_splits({**splits, "val": [1]}, weights)
    weights[4] = 0
    with pytest.raises(ValueError, match="'temporal' holds a frame without a tracked head"):
        checked_splits(splits, weights)
