import numpy as np
import pytest
import torch
from pytorch3d.transforms import random_rotations

from partnerface.data.head_parameter_files import are_rotations, load_arrays
from partnerface.user_error import UserError


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
