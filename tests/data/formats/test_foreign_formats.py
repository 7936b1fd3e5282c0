"""Datasets of other systems: the head lies where an independent script of each format says."""

from pathlib import Path

import numpy as np
import pytest
import torch

import partnerface
from partnerface.data.completion import torso_motion
from partnerface.data.formats import foreign_reader
from partnerface.data.sequence import TrackedSequence
from partnerface.head_models.head_parts import landmark_points
from tests.data.formats import peers


@pytest.fixture(scope="module")
def flame() -> dict[str, np.ndarray]:
    return peers.flame_form()


@pytest.fixture(scope="module")
def flame_file(flame, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame)
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """How the torso moves is not looked at here."""
    monkeypatch.setattr(torso_motion, "ITERATIONS", 1)


def check_head(sequence: TrackedSequence, truth: peers.Truth, pixel: float = 0.05) -> None:
    """Posing the head and projecting it is all that a user has to do."""
    assert len(sequence) == len(truth.pixels)
    assert len(set(sequence.frame_names)) == len(sequence)
    with torch.no_grad():
        vertices = sequence.head_model(sequence.head).vertices
    in_camera, (pixels, _) = sequence.camera.world_to_camera(vertices), sequence.camera.project(vertices)
    assert np.abs(in_camera.numpy() - truth.in_camera).max() < 1e-4
    assert np.abs(pixels.numpy() - truth.pixels).max() < pixel
    assert sequence.splits["train"] == truth.train
    assert sequence.splits.get("test", []) == truth.test
    assert not sequence.left_out


VHAP = {
    "plain": {},
    "static offset": {"static_offset": 120},
    "static offset with teeth": {"static_offset": 240},
    "indices with gaps": {"indices": [3, 4, 8, 9, 10, 20, 21, 30, 31, 35]},
    "overlapping splits": {"both": 2},
    "union": {"beside": "sequence"},
    "meshes": {"meshes": True},
}


@pytest.mark.parametrize("case", VHAP)
def test_vhap(case, flame, flame_file, tmp_path):
    root = tmp_path / "set"
    truth = peers.write_vhap(root, flame, **VHAP[case])
    check_head(partnerface.read_sequence(root, head_model=flame_file), truth)


INSTA = {
    "plain": {},
    "no canonical mesh": {"canonical": False},
    "no splits": {"splits": False},
    "overlapping splits": {"both": 3},
    # From 5 to 14 with gaps, without leading zeros: as text 10 comes before 5.
    "numbers of one and two digits": {"name": lambda frame: str(frame + 5 + frame // 4)},
    # So near that the neck lies far below the picture.
    "the face alone": {"closer": 7},
}


@pytest.mark.parametrize("case", INSTA)
def test_insta(case, flame, tmp_path):
    truth = peers.write_insta(tmp_path, flame, **INSTA[case])
    sequence = partnerface.read_sequence(tmp_path)
    check_head(sequence, truth)
    said = "3 frames of the test split are in training too and count as training"
    assert (said in sequence.assumed) == (case == "overlapping splits")


def test_a_byte_order_mark_is_no_fault(flame, tmp_path):
    truth = peers.write_insta(tmp_path, flame)
    path = tmp_path / "transforms_train.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    check_head(partnerface.read_sequence(tmp_path), truth)


IMAVATAR = {
    "plain": {},
    "alpha": {"folders": ("images", "")},
    "other folders": {"folders": ("images", "masks")},
    "two videos": {"videos": ("person/person/MVI_1", "person/person/MVI_2_test")},
    "gaps": {"numbers": lambda frame: 3 * frame + 7},
    "legacy": {"legacy": True},
    "turned": {"turned": True},
    "pixels of the pictures": {"pixels_of_picture": True},
}


@pytest.mark.parametrize("case", IMAVATAR)
def test_imavatar(case, flame, flame_file, tmp_path):
    truth = peers.write_imavatar(tmp_path, flame, **IMAVATAR[case])
    if case == "two videos":
        truth.train, truth.test = list(range(5)), list(range(5, 10))
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth, 0.75)


class Outlines:
    """Stands for MediaPipe, which knows no drawings: the lower middle of every picture is the person."""

    def mattes(self, frames):
        for frame in frames:
            matte = np.zeros(frame.shape[:2], np.uint8)
            matte[8:, 16:48] = 255
            yield matte


@pytest.fixture
def outlines(monkeypatch):
    monkeypatch.setattr(foreign_reader, "MediaPipeMatting", Outlines)


NERFACE = {
    "plain": {},
    "not mirrored": {"mirrored": False},
    "field of view": {"angle": True},
    "no index map": {"index_map": False},
    "overlapping splits": {"both": 3},
}


@pytest.mark.parametrize("case", NERFACE)
def test_nerface(case, flame, flame_file, tmp_path, outlines):
    truth = peers.write_nerface(tmp_path, flame, **NERFACE[case])
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    check_head(sequence, truth)
    assert sequence.splits["val"] == [7]
    said = any("3 frames of transforms_test.json are listed before" in text for text in sequence.assumed)
    assert said == (case == "overlapping splits")


def test_nerface_without_a_head_model_has_a_rigid_head_in_the_face_boxes(flame, tmp_path, outlines):
    peers.write_nerface(tmp_path, flame)
    sequence = partnerface.read_sequence(tmp_path)
    assert sequence.head.expression.shape == (10, 76)
    with torch.no_grad():
        posed = sequence.head_model(sequence.head)
    assert posed.displacements.abs().max() == 0
    points = landmark_points(sequence.head_model, posed.vertices[0])[[10, 152]]
    pixels, depth = sequence.camera.select([0]).project(points[None])
    assert (depth > 0.3).all()
    # The boxes go from 0.2 to 0.8 of the height: forehead above, chin below.
    rows = pixels[0, :, 1] / sequence.camera.height
    assert rows[1] - rows[0] == pytest.approx(0.6, rel=0.35)
    assert rows.mean() == pytest.approx(0.5, abs=0.12)


FRAMES = {
    "plain": {},
    "source pictures": {"shifted": True},
    "a missing frame": {"missing": True},
}


@pytest.mark.parametrize("case", FRAMES)
def test_metrical_tracker(case, flame, flame_file, tmp_path, outlines):
    truth = peers.write_frames(tmp_path, flame, **FRAMES[case])
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    # It divides nothing: our own splits do.
    truth.train, truth.test = sequence.splits["train"], []
    assert "temporal" in sequence.splits
    check_head(sequence, truth)


@pytest.mark.parametrize("missing", [False, True])
def test_flashavatar(missing, flame, flame_file, tmp_path):
    truth = peers.write_frames(tmp_path, flame, flash=True, missing=missing)
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)


NERSEMBLE = {
    "plain": {},
    "angles alone": {"matrices": False},
    "old": {"old": True, "scale": 1.0},
}


@pytest.mark.parametrize("case", NERSEMBLE)
def test_nersemble(case, flame, flame_file, tmp_path):
    truth = peers.write_nersemble(tmp_path, flame, **NERSEMBLE[case])
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)
