import numpy as np
import pytest
import torch
from pytorch3d.transforms import random_rotations

from partnerface.data.formats.values import (
    are_rotations,
    checked_splits,
    line_of_text,
    load_arrays,
    neck_line_of,
    positive,
    table,
)
from partnerface.errors import UserError


def test_rotations_against_the_determinant():
    torch.manual_seed(0)
    rotations = random_rotations(50)
    assert are_rotations(rotations).all()
    assert not are_rotations(-rotations).any()
    assert not are_rotations(1.01 * rotations).any()
    assert not are_rotations(rotations[:, [1, 0, 2]]).any()
    sheared = rotations.clone()
    sheared[:, 0, 0] += 0.01
    kept = (torch.linalg.det(sheared) - 1).abs() < 1e-4
    assert not are_rotations(sheared)[~kept].any()


def test_any_length_and_optional_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", first=np.zeros((7, 3)), other=np.zeros(2))
    loaded = load_arrays(tmp_path / "a.npz", {"first": (-1, 3), "second": (2,)}, optional=("second",))
    assert loaded.keys() == {"first"}
    assert loaded["first"].dtype == torch.float32
    for shapes in ({"first": (-1, 2)}, {"first": (-1,)}, {"second": (2,)}):
        with pytest.raises(UserError, match=r"a\.npz"):
            load_arrays(tmp_path / "a.npz", shapes)


def test_values_that_are_right_come_back():
    assert positive("25", "fps") == 25
    assert line_of_text("Клип 1", "name", 200) == "Клип 1"
    assert neck_line_of(0) == 0
    assert table({}, "x") == {}


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "\u202eevil", "x" * 201, 3])
def test_names_that_would_spoil_a_line(name):
    with pytest.raises(ValueError, match="'name' is not a line of text"):
        line_of_text(name, "name", 200)


def test_unseen_expressions_may_be_of_another_test_but_no_frame_of_two():
    weights = torch.ones(6)
    splits = {"train": [0, 1], "temporal": [4, 5], "unseen_expression": [5]}
    assert checked_splits(splits, weights) == splits
    with pytest.raises(ValueError, match="split 'val' holds a frame twice or shares one"):
        checked_splits({**splits, "val": [1]}, weights)
    weights[4] = 0
    with pytest.raises(ValueError, match="'temporal' holds a frame without a tracked head"):
        checked_splits(splits, weights)
