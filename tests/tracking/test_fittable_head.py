"""The landmarks of a head model in a file are found once, whichever command asks first."""

import dataclasses

import numpy as np

from partnerface.cli.main import main
from partnerface.errors import UserError
from partnerface.files.downloads import ASSETS_VARIABLE
from partnerface.tracking import fittable_head, tracker
from tests.head_models.flame_files import flame_arrays


def test_landmarks_of_a_file_are_found_once_and_tracked_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(ASSETS_VARIABLE, raising=False)
    np.savez(tmp_path / "flame.npz", **flame_arrays())
    (tmp_path / "clip.mp4").touch()
    faces = np.arange(468, dtype=np.int32) % 50
    searched, tracked = [], []

    def find(head_model, _on_view):
        searched.append(head_model)
        head_model.asset = dataclasses.replace(
            head_model.asset,
            landmark_faces=faces,
            landmark_barycentric=np.full((468, 3), 1 / 3, np.float32),
            landmark_spread=np.where(np.arange(468) < 400, 1, 9).astype(np.float32),
        )

    def track(_source, _out, *, head_model, **_settings):
        tracked.append(head_model)
        raise UserError("that is enough")

    monkeypatch.setattr(fittable_head, "find_landmarks", find)
    monkeypatch.setattr(tracker, "track_video", track)
    file = str(tmp_path / "flame.npz")
    command = ["track", str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "out"), "--head_model", file]
    assert [main(command), main(command)] == [2, 2]
    assert main(["embed-landmarks", file]) == 0
    assert "flame.npz: has 400 landmarks" in capsys.readouterr().out
    assert len(searched) == 1
    assert len(tracked) == 2
    for head_model in tracked:
        np.testing.assert_array_equal(head_model.asset.landmark_faces, faces)
