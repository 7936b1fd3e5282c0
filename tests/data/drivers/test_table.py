"""Tables of expressions: JSON, npz and npy say the same."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.data.drivers.table import read_table
from partnerface.errors import UserError
from tests.contracts.subjects import shared_head_model

HEAD = shared_head_model()


def columns(frames: int = 6) -> dict:
    draws = np.random.default_rng(0)
    return {
        "names": ["mouthSmile_L", "JawOpen", "unheardOf"],
        "expression": draws.uniform(0, 1, (frames, 3)).astype(np.float32),
        "neutral": np.array([0.1, 0.2, 0.3], np.float32),
        "head_degrees": draws.uniform(-30, 30, (frames, 3)).astype(np.float32),
        "translation": draws.standard_normal((frames, 3)).astype(np.float32),
        "eye_degrees": draws.uniform(-15, 15, (frames, 2)).astype(np.float32),
        "fps": np.array(29.97),
    }


def as_json(path, table):
    path.write_text(
        json.dumps({k: v if isinstance(v, list | dict) else v.tolist() for k, v in table.items()})
    )
    return path


@pytest.mark.parametrize("kind", ["json", "npz", "columns"])
def test_every_kind_of_file_says_the_same(tmp_path, kind):
    table = columns()
    if kind == "npz":
        path = tmp_path / "t.npz"
        np.savez(path, **table)
    elif kind == "json":
        path = as_json(tmp_path / "t.json", table)
    else:
        by_name = dict(zip(table["names"], table["expression"].T.tolist(), strict=True))
        rest = {k: v for k, v in table.items() if k != "names"}
        path = as_json(tmp_path / "t.json", rest | {"expression": by_name})
    found = read_table(path, HEAD)
    expected = np.zeros((6, HEAD.num_expression), np.float32)
    expected[:, HEAD.expression_index("mouthSmileLeft")] = table["expression"][:, 0]
    expected[:, HEAD.expression_index("jawOpen")] = table["expression"][:, 1]
    np.testing.assert_array_equal(found.expression.numpy(), expected)
    assert found.fps == pytest.approx(29.97)
    assert found.neutral[HEAD.expression_index("jawOpen")] == pytest.approx(0.2)
    turned = Rotation.from_euler("YXZ", table["head_degrees"], degrees=True).as_matrix()
    np.testing.assert_allclose(found.rotation.numpy(), turned, atol=1e-5)
    np.testing.assert_array_equal(found.translation.numpy(), table["translation"])
    eyes = np.pad(table["eye_degrees"], ((0, 0), (0, 1)))
    gaze = Rotation.from_euler("YXZ", eyes, degrees=True).as_matrix()
    np.testing.assert_allclose(found.joint_rotations[:, HEAD.joint("eye_right")].numpy(), gaze, atol=1e-5)
    assert any("50 of 52 expressions have no values" in note for note in found.notes)


def test_an_array_in_the_head_models_own_order(tmp_path):
    values = np.random.default_rng(0).uniform(0, 1, (4, HEAD.num_expression)).astype(np.float32)
    np.save(tmp_path / "t.npy", values)
    found = read_table(tmp_path / "t.npy", HEAD)
    assert torch.equal(found.expression, torch.from_numpy(values))
    assert found.fps == 25
    assert any("25 frames per second assumed" in note for note in found.notes)
    assert read_table(tmp_path / "t.npy", HEAD, fps=50).fps == 50


def test_rotation_matrices(tmp_path):
    turns = Rotation.random(6, random_state=0).as_matrix()
    table = columns() | {"rotation": turns}
    del table["head_degrees"]
    np.testing.assert_allclose(
        read_table(as_json(tmp_path / "t.json", table), HEAD).rotation, turns, atol=1e-6
    )
    table["rotation"] = -turns
    with pytest.raises(UserError, match="no rotations"):
        read_table(as_json(tmp_path / "t.json", table), HEAD)
