"""What an interrupted tracking leaves is read back exactly, or not at all."""

import errno
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.fit.problem import fit_head
from partnerface.tracking.stages import TrackingStages, settings_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fit(synthetic_track, anny):
    track = synthetic_track(5).track
    mattes = torch.zeros(5, track.height, track.width, dtype=torch.uint8)
    mattes[:, 30:, 70:-70] = 255
    return fit_head(track, anny, mattes, settings=FitSettings(pose_steps=2, steps=3))


def equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if is_dataclass(one) and type(one) is type(other):
        return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return type(one) is type(other) and one == other


def test_a_fit_is_read_back_exactly_with_and_without_a_contour(tmp_path, fit):
    assert len(fit.contour.frames)
    stages = TrackingStages(tmp_path / "out", "key")
    assert stages.fit() is None
    for saved in (fit, replace(fit, contour=None)):
        stages.save_fit(saved)
        assert equal(saved, stages.fit())
    assert not equal(fit, stages.fit())


def test_mattes_are_read_back_exactly_and_only_with_their_shape(tmp_path):
    stages = TrackingStages(tmp_path / "out", "key")
    mattes = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
    room = stages.room_for_mattes(mattes.shape)
    room[:] = mattes
    assert stages.mattes(mattes.shape) is None  # not before it is saved
    stages.save_mattes(room)
    assert np.array_equal(stages.mattes((3, 16, 16)), mattes)
    assert stages.mattes((2, 16, 16)) is None
    assert stages.mattes((4, 16, 16)) is None
    path = stages.folder / "mattes.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert stages.mattes((3, 16, 16)) is None


def test_mattes_of_a_long_video_take_no_memory_and_outlive_their_file(tmp_path, monkeypatch):
    """A process of less memory than the mattes have fills them, and a full disk is found out at once."""
    code = f"""
import resource
import numpy as np
from pathlib import Path
from partnerface.tracking.stages import TrackingStages
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 400 * 2**20,) * 2)
stages = TrackingStages(Path({str(tmp_path)!r}) / "out", "key")
mattes = stages.room_for_mattes((2000, 512, 512))
mattes[::50] = 7
stages.remove()
print(int(mattes[1000].max()), int(mattes[1001].max()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["7", "0"], done.stderr

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    stages = TrackingStages(tmp_path / "out", "key")
    room = stages.room_for_mattes((3, 16, 16))
    assert room.flags.owndata
    assert list(stages.folder.iterdir()) == []


def test_another_key_finds_nothing_and_removal_leaves_nothing(tmp_path, fit):
    stages, other = (TrackingStages(tmp_path / "out", key) for key in ("key", "other"))
    stages.save_fit(fit)
    stages.save_mattes(np.zeros((1, 8, 8), np.uint8))
    assert other.fit() is None
    assert other.mattes((1, 8, 8)) is None
    stages.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_end_takes_trackings_of_other_settings_along(tmp_path, fit):
    stages, other = (TrackingStages(tmp_path / "out", key) for key in ("key", "other"))
    of_others = [TrackingStages(tmp_path / name, "key") for name in ("out.2", "out2")]
    for each in (stages, other, *of_others):
        each.save_fit(fit)
    assert stages.of_other_settings() == [other.folder]
    stages.remove(with_others=True)
    assert sorted(tmp_path.iterdir()) == sorted(each.folder for each in of_others)


def test_a_file_that_lacks_a_field_or_has_a_foreign_one_is_not_used(tmp_path, fit):
    stages = TrackingStages(tmp_path / "out", "key")
    stages.save_fit(fit)
    path = stages.folder / "fit.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    for changed in (
        {name: array for name, array in arrays.items() if name != "head.rotation"},
        {name: array for name, array in arrays.items() if name != "irises"},
        arrays | {"head.age": np.zeros(1)},
    ):
        np.savez(path, **changed)
        assert stages.fit() is None


def test_where_nothing_can_be_saved_the_run_goes_on_without(tmp_path, fit):
    stages = TrackingStages(tmp_path / "out", "key")
    stages.folder.write_text("a file where the folder should be")
    stages.save_fit(fit)
    stages.save_mattes(np.zeros((1, 8, 8), np.uint8))
    assert stages.fit() is None
    assert stages.mattes((1, 8, 8)) is None
    assert stages.landmarks("digest") is None


def test_a_folder_that_another_run_removes_meanwhile_does_no_harm(tmp_path, fit, monkeypatch):
    stages = TrackingStages(tmp_path / "out", "key")
    save = np.savez_compressed
    monkeypatch.setattr(
        np, "savez_compressed", lambda *args, **arrays: save(*args, **arrays) or stages.remove()
    )
    stages.save_fit(fit)
    assert stages.fit() is None


def test_what_a_kill_within_a_save_left_is_no_result_and_goes_with_the_rest(tmp_path, fit):
    stages = TrackingStages(tmp_path / "out", "key")
    stages.save_fit(fit)
    (stages.folder / "fit.npz").rename(stages.folder / ".fit.npz.7.partial.npz")
    assert stages.fit() is None
    stages.remove()
    assert list(tmp_path.iterdir()) == []


def test_folders_named_by_a_dot_are_those_of_their_own_name(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    stages = TrackingStages(Path("."), "key")
    assert stages.folder == tmp_path / ".mine.key.stages"


def test_every_setting_of_the_fit_and_every_model_is_part_of_the_key(anny):
    def key(source="video", size=512, models=("landmarks", "mattes"), settings=None):
        return settings_key(source, size, models, anny, settings or FitSettings())

    changed = [
        replace(FitSettings(), **{f.name: 2 * getattr(FitSettings(), f.name)}) for f in fields(FitSettings)
    ]
    keys = [
        key(),
        key(source="other"),
        key(size=256),
        key(models=("x", "mattes")),
        key(models=("landmarks", "x")),
    ]
    keys += [key(settings=settings) for settings in changed]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
