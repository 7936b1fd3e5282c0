"""Datasets of other systems: the head lies where an independent script of each format says."""

from pathlib import Path

import numpy as np
import pytest
import torch

import partnerface
from partnerface.data.sequence import TrackedSequence
from tests.data.formats import peers


@pytest.fixture(scope="module")
def flame() -> dict[str, np.ndarray]:
    return peers.flame_form()


@pytest.fixture(scope="module")
def flame_file(flame, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame)
    return path


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


INSTA = {"plain": {}, "no canonical mesh": {"canonical": False}, "no splits": {"splits": False}}


@pytest.mark.parametrize("case", INSTA)
def test_insta(case, flame, tmp_path):
    truth = peers.write_insta(tmp_path, flame, **INSTA[case])
    check_head(partnerface.read_sequence(tmp_path), truth)


IMAVATAR = {
    "plain": {},
    "alpha": {"folders": ("images", "")},
    "other folders": {"folders": ("images", "masks")},
    "two videos": {"videos": ("person/person/MVI_1", "person/person/MVI_2_test")},
    "gaps": {"numbers": lambda frame: 3 * frame + 7},
    "legacy": {"legacy": True},
    "turned": {"turned": True},
}


@pytest.mark.parametrize("case", IMAVATAR)
def test_imavatar(case, flame, flame_file, tmp_path):
    truth = peers.write_imavatar(tmp_path, flame, **IMAVATAR[case])
    if case == "two videos":
        truth.train, truth.test = list(range(5)), list(range(5, 10))
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth, 0.75)
