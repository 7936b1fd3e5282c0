"""The stream that shows a face and the turn that makes it upright, by a detector that is stood in for."""

import av
import numpy as np
import pytest

from partnerface.files.video_reading.read import read_video
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import write_video
from partnerface.tracking.detection.scouting import choose_reading, small_face_window


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


def _window(tmp_path, boxes):
    """The window of a video of 320x180 with a white square (x, y, side), or none, in each of 12 pictures."""
    images = np.zeros((12, 180, 320, 3), np.uint8)
    for image, box in zip(images, boxes, strict=True):
        if box:
            x, y, side = box
            image[y : y + side, x : x + side] = 255
    write_video(tmp_path / "a.mp4", images, 25)

    def points_of(tile):
        rows, columns, _ = np.nonzero(tile > 128)
        if not len(rows) or np.ptp(rows) < 0.1 * len(tile):
            return None
        # Squares that the tile cuts are no whole face.
        points = np.stack([columns, rows], 1).astype(np.float32)
        at_edge = (points == 0).any() or (points == len(tile) - 1).any()
        return np.full((1, 2), -1, np.float32) if at_edge else points

    return small_face_window(VideoSource(tmp_path / "a.mp4"), 12, points_of)


FACE = (200, 100, 14)


@pytest.mark.parametrize(
    ("first", "strays"),
    [
        (0, {5: (30, 20, 30)}),
        (0, {5: (30, 20, 14)}),
        (0, {11: (30, 20, 30)}),
        # Before the person comes.
        (4, {0: (30, 20, 30), 2: (30, 20, 30)}),
        (0, {2: (30, 20, 30), 3: (300, 20, 6), 8: (290, 150, 14)}),
    ],
)
def test_false_detections_do_not_widen_the_window_around_a_small_face(tmp_path, first, strays):
    boxes = [strays.get(k, FACE if k >= first else None) for k in range(12)]
    window = _window(tmp_path, boxes)
    # Four heights, less what the codec blurs at the edges.
    assert 44 <= window.side <= 56
    assert abs(window.offset_x + window.side / 2 - 207) <= 2
    assert abs(window.offset_y + window.side / 2 - 107) <= 2


@pytest.mark.parametrize("back", [False, True])
def test_a_person_who_walks_stays_in_the_window(tmp_path, back):
    """Through half of the picture, coming closer on the way; and back again."""
    steps = [min(k, 11 - k) * 2 if back else k for k in range(12)]
    boxes = [(20 + 14 * k, 80 + k, 12 + k // 2) for k in steps]
    window = _window(tmp_path, boxes)
    assert window.offset_x <= min(x for x, _, _ in boxes)
    assert window.offset_x + window.side >= max(x + side for x, _, side in boxes)
    assert window.offset_y <= min(y for _, y, _ in boxes)
    assert window.offset_y + window.side >= max(y + side for _, y, side in boxes)


def test_too_few_faces_beside_false_detections_make_no_window(tmp_path):
    boxes = [None] * 6 + [FACE, FACE, (30, 20, 30)] + [None] * 3
    assert _window(tmp_path, boxes) is None
    assert _window(tmp_path, [None] * 12) is None
