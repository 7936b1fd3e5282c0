"""The stream that shows a face and the turn that makes it upright, by a detector that is stood in for."""

import av
import numpy as np
import pytest

from partnerface.files.video_reading.read import read_video
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import write_video
from partnerface.tracking.detection.scouting import choose_reading


def _head(turn: int, size: int = 64) -> np.ndarray:
    """A face: bright above, dark below, turned clockwise by ``turn`` quarters."""
    image = np.full((size, size, 3), 30, np.uint8)
    image[: size // 4] = 230
    return np.rot90(image, -turn)


def _roll(image: np.ndarray) -> float | None:
    """As a real detector: an upside-down face is taken for an upright one, others are found as they lie."""
    edges = [image[:8].mean(), image[:, -8:].mean(), image[-8:].mean(), image[:, :8].mean()]
    if max(edges) < 150:
        return None
    return {0: 4.0, 1: 88.0, 2: -3.0, 3: -93.0}[int(np.argmax(edges))]


@pytest.mark.parametrize("turn", range(4))
def test_heads_are_turned_upright(tmp_path, turn):
    path = tmp_path / "a.mp4"
    write_video(path, [np.zeros((64, 64, 3), np.uint8)] * 10 + [_head(turn)] * 30, 25)
    source, notes = choose_reading(VideoSource(path), _roll)
    assert source.quarter_turns == turn
    last = list(read_video(source))[-1].image
    assert last[:8].mean() > 200 > 60 > last[-8:].mean()
    words = [None, "on its side: turned by 90 degrees counter", "upside down", "90 degrees clockwise"][turn]
    assert [words in note for note in notes] == ([True] if turn else [])


def test_the_stream_with_a_face_is_taken(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
        for _ in range(30):
            for stream, image in zip(streams, (np.zeros((64, 64, 3), np.uint8), _head(0)), strict=True):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode(None))
    source, notes = choose_reading(VideoSource(path), _roll)
    assert (source.stream, source.quarter_turns) == (1, 0)
    assert notes == ["video stream 2 of 2 is used: the first with a face"]
    assert choose_reading(VideoSource(path, stream=0), _roll) == (VideoSource(path, stream=0), [])
    nowhere = choose_reading(VideoSource(path), lambda image: None)
    assert nowhere == (VideoSource(path), [])
