import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.video_reading.read import probe_video, read_video
from partnerface.files.videos import write_video


def quadrants(height: int, width: int) -> np.ndarray:
    """Red top left, green top right, blue bottom left, black bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    return image


def corner_colours(image: np.ndarray) -> list[int]:
    """Index of the strongest channel at top left, top right, bottom left, bottom right; 3 for black."""
    corners = [image[4, 4], image[4, -5], image[-5, 4], image[-5, -5]]
    return [int(c.argmax()) if c.max() > 100 else 3 for c in corners]


def test_round_trip(tmp_path):
    greys = [20, 80, 140, 200, 250]
    write_video(tmp_path / "a.mp4", (np.full((32, 48, 3), grey, np.uint8) for grey in greys), 12.5)
    frames = list(read_video(tmp_path / "a.mp4"))
    assert [round(f.time * 12.5, 3) for f in frames] == [0, 1, 2, 3, 4]
    for grey, frame in zip(greys, frames, strict=True):
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image.astype(int) - grey).max() <= 3
    record = probe_video(tmp_path / "a.mp4")
    assert (record.width, record.height, record.fps, record.num_frames) == (48, 32, 12.5, 5)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_sizes_are_padded_by_the_edge(tmp_path):
    image = quadrants(33, 51)
    image[-1], image[:, -1] = 255, 255
    write_video(tmp_path / "a.mp4", [image] * 2, 25)
    frame = next(read_video(tmp_path / "a.mp4")).image
    assert frame.shape == (34, 52, 3)
    assert frame[-1].min() > 200
    assert frame[:, -1].min() > 200


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        # The display matrix (a, b, c, d) of a turn by 90, 180 and 270 degrees clockwise.
        ((0, 1, -1, 0), [2, 0, 3, 1]),
        ((-1, 0, 0, -1), [3, 2, 1, 0]),
        ((0, -1, 1, 0), [1, 3, 0, 2]),
    ],
)
def test_rotation_metadata(tmp_path, matrix, expected):
    """A phone's portrait video is stored lying down, with the turn in the track header's matrix."""
    path = tmp_path / "a.mp4"
    write_video(path, [quadrants(32, 64)] * 2, 25)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    frame = next(read_video(path)).image
    assert corner_colours(frame) == expected
    record = probe_video(path)
    assert (record.height, record.width) == frame.shape[:2] == ((32, 64) if matrix[0] else (64, 32))


def test_a_variable_rate_keeps_every_frame_and_its_time(tmp_path):
    milliseconds = [0, 40, 80, 200, 210, 500]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index, pts in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = list(read_video(tmp_path / "a.mkv"))
    assert [round(f.time * 1000) for f in frames] == milliseconds
    assert [round(int(f.image[0, 0, 0]) / 40) for f in frames] == list(range(6))


def test_bad_files_are_named(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    (tmp_path / "folder.mp4").mkdir()
    write_video(tmp_path / "cut.mp4", [quadrants(64, 64)] * 10, 25)
    whole = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    for name in ("empty.mp4", "text.mp4", "folder.mp4", "cut.mp4", "sound.wav", "missing.mp4"):
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            list(read_video(tmp_path / name))
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            probe_video(tmp_path / name)


def test_a_failed_write_leaves_nothing(tmp_path):
    def breaks():
        yield quadrants(32, 32)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        write_video(tmp_path / "a.mp4", breaks(), 25)
    with pytest.raises(ValueError, match="at least one"):
        write_video(tmp_path / "a.mp4", [], 25)
    with pytest.raises(ValueError, match="differ"):
        write_video(tmp_path / "a.mp4", [quadrants(32, 32), quadrants(32, 34)], 25)
    with pytest.raises(UserError, match="missing"):
        write_video(tmp_path / "missing" / "a.mp4", [quadrants(32, 32)], 25)
    assert list(tmp_path.iterdir()) == []
