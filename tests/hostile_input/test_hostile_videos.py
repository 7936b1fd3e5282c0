"""Bad videos: each refused by ``partnerface track`` or ``create`` in one line, and no other file opened."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from PIL import Image

from partnerface.files.video_reading.read import read_video
from partnerface.files.videos import write_video
from partnerface.tracking.detection.landmarks import MediaPipeDetector


def _film(path: Path, size: int = 64, frames: int = 10) -> bytes:
    write_video(path, [np.full((size, size, 3), 20 * k, np.uint8) for k in range(frames)], 25)
    return path.read_bytes()


def _sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def _picture(path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, kind)
    path.write_bytes(buffer.getvalue())


def _two_sizes(path: Path) -> None:
    """Transport streams can be put behind each other."""
    parts = [_film(path.with_name(f"{size}.ts"), size) for size in (64, 128)]
    path.write_bytes(b"".join(parts))


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.start_encoding()


def _playlist(path: Path, text: str) -> None:
    secret = path.with_name("secret.ts")
    _film(secret)
    path.write_text(text.format(secret=secret))


VIDEOS: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "text": lambda path: path.write_text("not a video " * 1000),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(100_000)),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "cut": lambda path: path.write_bytes(_film(path)[:1000]),
    "head only": lambda path: path.write_bytes(_film(path)[:40]),
    "tail only": lambda path: path.write_bytes(_film(path)[-500:]),
    "folder": Path.mkdir,
    "missing": lambda path: None,
    "link loop": lambda path: path.symlink_to(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "sound": _sound,
    "png": lambda path: _picture(path, "PNG"),
    "gif": lambda path: _picture(path, "GIF"),
    "no frames": _no_frames,
    "two sizes": _two_sizes,
    "hls": lambda path: _playlist(path, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n"),
    "concat": lambda path: _playlist(path, "ffconcat version 1.0\nfile 'secret.ts'\n"),
    "dash": lambda path: _playlist(path, "<MPD><BaseURL>file://{secret}</BaseURL></MPD>"),
    "sdp": lambda path: path.write_text("v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    "subtitles": lambda path: path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
}


@pytest.fixture
def read_whole(monkeypatch, tracker) -> list[int]:
    """A detector that looks at every frame and finds nothing; MediaPipe's files are not needed."""
    seen: list[int] = []

    def look(self, video: Path, on_frame: Callable[[], None]) -> None:
        seen.extend(1 for _ in read_video(video))
        raise AssertionError("the video was read to its end")

    monkeypatch.setattr(MediaPipeDetector, "detect", look)
    monkeypatch.setattr(tracker, "model_file", lambda model: Path(model.name))
    return seen


@pytest.fixture(scope="module", autouse=True)
def tracker() -> ModuleType:
    """Imported before: libraries look for others with programs of the system while they are imported."""
    pytest.importorskip("mediapipe")
    return importlib.import_module("partnerface.tracking.tracker")


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos(bench, read_whole, kind: str) -> None:
    path = bench.folder / "clip.mp4"
    VIDEOS[kind](path)
    bench.refuses(["track", str(path), "--out", str(bench.out / "set")], "clip.mp4")
    assert not bench.out.exists() or not any(bench.out.iterdir())


@pytest.mark.parametrize("name", ["concat:a|b.mp4", "pipe:0", "-i.mp4", "http:x.mp4", "клип.mp4", "a\nb.mp4"])
def test_names_that_look_like_something_else(bench, read_whole, name: str) -> None:
    (bench.folder / name).write_text("no video")
    bench.refuses(["track", f"--video={name}", "--out", str(bench.out / "set")], "not a video")


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text"])
def test_an_avatar_from_no_video(bench, read_whole, kind: str) -> None:
    VIDEOS[kind](bench.folder / "clip.mp4")
    bench.refuses(["create", "clip.mp4", "--out", str(bench.out)], "clip.mp4")


@pytest.mark.parametrize("settings", ["", "{", "[]", "null", '"text"', "[" * 100_000, '{"video": 3}'])
def test_a_folder_with_settings_that_are_none(bench, settings: str) -> None:
    bench.out.mkdir()
    (bench.out / "settings.json").write_text(settings)
    bench.refuses(["demo", "--out", str(bench.out)], "out")
