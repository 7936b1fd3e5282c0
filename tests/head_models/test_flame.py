"""FLAME files: the contract on random bases, and everything that may be wrong with a file."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from partnerface.errors import UserError
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_parts import head_parts
from tests.contracts.head_model_contract import HeadModelContract
from tests.head_models.flame_files import flame_arrays


@pytest.fixture
def flame_file(tmp_path):
    path = tmp_path / "flame.npz"
    np.savez(path, **flame_arrays())
    return path


class TestFlame(HeadModelContract):
    @pytest.fixture
    def head_model(self, flame_file):
        return FlameHead(flame_file, num_identity=7, num_expression=5).double()

    def test_joints_follow_identity_and_expression(self, head_model):
        """FLAME regresses its joints from the shaped and expressive vertices."""
        arrays = flame_arrays()
        identity, expression = torch.randn(7).double(), torch.randn(5).double()
        coefficients = np.zeros(400)
        coefficients[:7], coefficients[300:305] = identity, expression
        shaped = arrays["v_template"] + arrays["shapedirs"] @ coefficients
        expected = arrays["J_regressor"] @ shaped - arrays["J_regressor"][1] @ arrays["v_template"]
        head = head_model.neutral_parameters(1).to(torch.float64)
        head.identity, head.expression = identity, expression[None]
        torch.testing.assert_close(head_model(head).joints[0], torch.tensor(expected), atol=1e-6, rtol=0)

    def test_eyeballs_are_parts(self, head_model):
        assert head_model.part_faces("eye_left").nonzero().flatten().tolist() == [52]
        assert head_model.part_faces("eye_right").nonzero().flatten().tolist() == [53]

    def test_head_joint_is_the_neck(self, head_model):
        assert head_model.joint("head") == head_model.joint("neck")

    def test_parts_need_landmarks(self, head_model):
        with pytest.raises(UserError, match="landmark embedding"):
            head_parts(head_model)


class ChumpyLike:
    """Pickles as ``chumpy.ch.Ch`` does."""

    def __init__(self, x):
        self.x, self._dirty_vars = x, set()


def write_pickle(path, arrays, protocol):
    """A pickle that names chumpy's class without chumpy."""
    ChumpyLike.__module__, ChumpyLike.__qualname__, ChumpyLike.__name__ = "chumpy.ch", "Ch", "Ch"
    import sys
    import types

    module = types.ModuleType("chumpy.ch")
    module.Ch = ChumpyLike
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("layout", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array"])
def test_pickle_reads_like_npz(tmp_path, flame_file, protocol, layout):
    sparse = pytest.importorskip("scipy.sparse", reason="scipy writes the sparse matrices of this test")
    arrays = flame_arrays()
    arrays["J_regressor"] = getattr(sparse, layout)(arrays["J_regressor"])
    arrays["v_template"] = ChumpyLike(arrays["v_template"])
    arrays["shapedirs"] = ChumpyLike(np.asfortranarray(arrays["shapedirs"]))
    arrays["scale"] = np.float64(1.0)
    path = tmp_path / "flame.pkl"
    write_pickle(path, arrays, protocol)
    pickled, plain = FlameHead(path, 7, 5), FlameHead(flame_file, 7, 5)
    for name, value in plain.named_buffers():
        torch.testing.assert_close(pickled.get_buffer(name), value)


def test_unsafe_pickle_is_refused(tmp_path):
    path = tmp_path / "flame.pkl"
    path.write_bytes(pickle.dumps({**flame_arrays(), "extra": print}))
    with pytest.raises(UserError, match=r"flame\.pkl: asks for builtins\.print"):
        FlameHead(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pkl: not found; download"):
        FlameHead(tmp_path / "nowhere.pkl")


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f"])
def test_missing_and_misshapen_arrays(tmp_path, key):
    arrays = flame_arrays()
    path = tmp_path / "flame.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if k != key})
    with pytest.raises(UserError, match=f"has no {key}"):
        FlameHead(path)
    np.savez(path, **{**arrays, key: arrays[key][..., None]})
    with pytest.raises(UserError, match=r"flame\.npz"):
        FlameHead(path)


def test_faces_outside_the_mesh(tmp_path):
    arrays = flame_arrays()
    arrays["f"][0, 0] = 60
    path = tmp_path / "flame.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="points outside"):
        FlameHead(path)


def test_more_components_than_the_file_has(flame_file):
    with pytest.raises(UserError, match="num_expression is 101, but the file has 100"):
        FlameHead(flame_file, 100, 101)
    with pytest.raises(UserError, match="num_identity is 301, but the file has 300"):
        FlameHead(flame_file, 301, 50)


def test_other_suffix_and_corrupt_npz(tmp_path, flame_file):
    other = tmp_path / "flame.txt"
    other.write_text("hello")
    with pytest.raises(UserError, match=r"must end in \.npz or \.pkl"):
        FlameHead(other)
    content = flame_file.read_bytes()
    for damaged in (b"", b"PK", content[: len(content) // 2]):
        flame_file.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            FlameHead(flame_file)
