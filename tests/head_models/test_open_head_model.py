"""Head models by name and by file, and embeddings that were kept for them."""

from __future__ import annotations

import numpy as np
import pytest

from partnerface.cli.main import main
from partnerface.errors import UserError
from partnerface.files.downloads import ASSETS_VARIABLE
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.ict_facekit import IctFaceKitHead
from partnerface.head_models.landmark_store import landmarks_file
from partnerface.head_models.open_head_model import open_head_model
from tests.head_models.flame_files import flame_arrays
from tests.head_models.test_ict_facekit import small_file


@pytest.fixture
def flame_file(tmp_path):
    np.savez(tmp_path / "generic.npz", **flame_arrays())
    return tmp_path / "generic.npz"


def test_names_and_files(flame_file, tmp_path):
    small_file(tmp_path / "ict.npz")
    assert type(open_head_model("anny")) is AnnyHead
    assert type(open_head_model("ict_facekit")) is IctFaceKitHead
    assert type(open_head_model(flame_file)) is FlameHead
    assert open_head_model(str(tmp_path / "ict.npz")).num_identity == 3


def test_what_is_no_head_model_is_one_line(tmp_path, capsys):
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "clip.mp4").touch()
    for name, said in {
        "nowhere.pkl": "no such file, nor one of anny, ict_facekit",
        "other.npz": "neither a FLAME nor an ICT-FaceKit file",
        "text.npz": "neither a .pkl nor a readable .npz file",
    }.items():
        arguments = ["track", str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "out")]
        assert main([*arguments, "--head-model", str(tmp_path / name)]) == 2
        line = capsys.readouterr().err.strip()
        assert said in line
        assert name in line
        assert "\n" not in line
    assert not (tmp_path / "out").exists()


def kept_embedding(folder, head_model, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "landmark_faces": rng.integers(0, len(head_model.faces), 468).astype(np.int32),
        "landmark_barycentric": np.full((468, 3), 1 / 3, np.float32),
        "landmark_spread": rng.random(468).astype(np.float32),
    }
    np.savez(folder / landmarks_file(head_model.surface), **(arrays | changes))
    return arrays


def test_an_embedding_that_was_kept_belongs_to_the_head(flame_file, tmp_path, monkeypatch):
    """However many components are used, and whatever the file is called."""
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    bare = FlameHead(flame_file, 7, 5)
    assert not len(bare.asset.landmark_faces)
    arrays = kept_embedding(tmp_path, bare)
    renamed = tmp_path / "renamed.npz"
    renamed.write_bytes(flame_file.read_bytes())
    for again in (FlameHead(flame_file, 7, 5), FlameHead(renamed, 20, 50)):
        for name, value in arrays.items():
            np.testing.assert_array_equal(getattr(again.asset, name), value)
    other = tmp_path / "other.npz"
    np.savez(other, **flame_arrays(seed=1))
    assert not len(FlameHead(other, 7, 5).asset.landmark_faces)


@pytest.mark.parametrize(
    "changes",
    [
        {"landmark_faces": np.full(468, 10_000, np.int32)},
        {"landmark_faces": np.zeros(3, np.int32)},
        {"landmark_spread": np.full(468, np.nan, np.float32)},
        {"landmark_barycentric": np.array([None] * 468)},
    ],
)
def test_a_damaged_embedding_counts_as_missing(flame_file, tmp_path, monkeypatch, changes):
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    kept_embedding(tmp_path, FlameHead(flame_file, 7, 5), **changes)
    assert not len(FlameHead(flame_file, 7, 5).asset.landmark_faces)


def test_refusals_of_the_file_itself_are_kept(tmp_path):
    (tmp_path / "flame.pkl").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"flame\.pkl: is no readable pickle"):
        open_head_model(tmp_path / "flame.pkl")
