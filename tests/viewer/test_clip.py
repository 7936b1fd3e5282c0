"""Recordings of a page, decoded again."""

from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.video_reading.read import read_video
from partnerface.viewer import clip
from partnerface.viewer.clip import ClipRecorder


def plain(value: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def decoded(film: bytes, folder: Path) -> list[np.ndarray]:
    path = folder / "clip.mp4"
    path.write_bytes(film)
    return [frame.image for frame in read_video(path)]


def test_what_is_shown_lasts_until_the_next_picture(tmp_path: Path) -> None:
    recorder = ClipRecorder(10.0, (48, 32))
    recorder.add_at(plain(40), 5.0)
    recorder.add_at(plain(120), 5.3)
    recorder.add_at(plain(200, (64, 96)), 5.5)  # a finer picture of the same page
    frames = decoded(recorder.finish(6.0), tmp_path)
    levels = [round(float(frame.mean()) / 40) for frame in frames]
    assert levels == [1] * 3 + [3] * 2 + [5] * 5
    assert {frame.shape for frame in frames} == {(32, 48, 3)}


def test_a_recording_without_a_picture_is_none() -> None:
    assert ClipRecorder(25.0, (48, 32)).finish(3.0) is None


def test_a_recording_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "LONGEST_S", 1)
    recorder = ClipRecorder(10.0, (48, 32))
    recorder.add_at(plain(40), 0.0)
    assert len(decoded(recorder.finish(1e6), tmp_path)) == 10


def test_a_disk_that_is_full_is_said_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, frames, fps: float) -> None:
        next(iter(frames))
        raise UserError("clip.mp4: cannot be written (No space left on device)")

    monkeypatch.setattr(clip, "write_video", full)
    recorder = ClipRecorder(25.0, (48, 32))

    def record() -> None:
        for _ in range(100):
            recorder.add_frame(plain(0))

    with pytest.raises(UserError, match="No space left"):
        record()
    recorder.discard()


def test_a_recording_that_is_given_up_leaves_no_file() -> None:
    recorder = ClipRecorder(25.0, (48, 32))
    recorder.add_frame(plain(9))
    folder = Path(recorder._folder.name)
    recorder.discard()
    assert not folder.exists()
