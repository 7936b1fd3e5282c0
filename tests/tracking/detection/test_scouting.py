"""The stream that shows a face and the turn that makes it upright, by a detector that is stood in for."""

import av
import numpy as np
import pytest

from partnerface.files.video_reading.read import read_video
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import write_video
from partnerface.head_models.landmark_geometry import CHIN, FOREHEAD_TOP
from partnerface.tracking.detection.scouting import choose_reading, find_small_face, reading_notes


def _head(turn: int, size: int = 64) -> np.ndarray:
    """A face: bright above, dark below, turned clockwise by ``turn`` quarters."""
    image = np.full((size, size, 3), 30, np.uint8)
    image[: size // 4] = 230
    return np.rot90(image, -turn)


def _landmarks(points: np.ndarray, roll: float) -> np.ndarray:
    """``[478, 2]`` landmarks that cover some points ``[N, 2]``, those of a face that is turned clockwise."""
    found = np.resize([points.min(0), points.max(0)], (478, 2)).astype(np.float32)
    up = np.array([np.sin(np.radians(roll)), -np.cos(np.radians(roll))])
    found[[FOREHEAD_TOP, CHIN]] = points.mean(0) + np.outer([1, -1], up)
    return found


def _face(image: np.ndarray) -> np.ndarray | None:
    """As a real detector: an upside-down face is taken for an upright one, others are found as they lie."""
    edges = [image[:8].mean(), image[:, -8:].mean(), image[-8:].mean(), image[:, :8].mean()]
    if max(edges) < 150:
        return None
    return _landmarks(np.array([[20, 20], [40, 40]]), {0: 4, 1: 88, 2: -3, 3: -93}[int(np.argmax(edges))])


@pytest.mark.parametrize("turn", range(4))
def test_heads_are_turned_upright(tmp_path, turn):
    path = tmp_path / "a.mp4"
    write_video(path, [np.zeros((64, 64, 3), np.uint8)] * 10 + [_head(turn)] * 30, 25)
    source = choose_reading(VideoSource(path), _face)
    notes = reading_notes(VideoSource(path), source)
    assert source.quarter_turns == turn
    last = list(read_video(source))[-1].image
    assert last[:8].mean() > 200 > 60 > last[-8:].mean()
    words = [None, "on its side: turned by 90 degrees counter", "upside down", "90 degrees clockwise"][turn]
    assert [words in note for note in notes] == ([True] if turn else [])


def test_the_stream_with_a_face_is_taken(tmp_path):
    path = tmp_path / "a.mkv"
    _two_streams(path, np.zeros((64, 64, 3), np.uint8), _head(0))
    source = choose_reading(VideoSource(path), _face)
    assert (source.stream, source.quarter_turns) == (1, 0)
    said = ["video stream 2 of 2 is used: it shows a face"]
    assert reading_notes(VideoSource(path), source) == said
    assert choose_reading(VideoSource(path, stream=0), _face) == VideoSource(path, stream=0)
    assert choose_reading(VideoSource(path), lambda image: None) == VideoSource(path)


def test_a_photograph_in_the_first_stream_gives_way_to_a_film(tmp_path):
    """Where both hold still, the first is taken."""
    path = tmp_path / "a.mkv"
    film = np.stack([_head(0)] * 30)
    for k, image in enumerate(film):
        image[30:40, k : k + 10] = 200
    _two_streams(path, _head(0), film)
    assert choose_reading(VideoSource(path), _face).stream == 1
    _two_streams(path, _head(0), _head(0))
    looked = []
    assert choose_reading(VideoSource(path), lambda image: looked.append(1) or _face(image)).stream == 0
    # Three pictures of each stream, in four turns.
    assert len(looked) == 24


@pytest.mark.parametrize("roll", [0, 90, 180, -90])
def test_a_small_face_is_found_in_any_stream_and_turned_upright(tmp_path, roll):
    """The first stream is a slide; in the second is a face of an eighth of the picture, on its side."""
    slide, picture = np.zeros((2, 192, 192, 3), np.uint8)
    picture[100:124, 30:54] = _head(roll // 90 % 4, 24) // 2 + 128
    _two_streams(tmp_path / "a.mkv", slide, picture)

    def points_of(tile):
        rows, columns = np.nonzero(tile.min(-1) > 120)
        if len(rows) < 400 or np.ptp(rows) < 0.2 * len(tile):
            return None
        points = np.stack([columns, rows], 1)
        dark = (tile[rows, columns, 0] < 190)[:, None]
        down = (points * dark).sum(0) / dark.sum() - points.mean(0)
        return _landmarks(points, np.degrees(np.arctan2(-down[0], down[1])))

    source, window = find_small_face(VideoSource(tmp_path / "a.mkv"), points_of)
    assert source.stream == 1
    upright = window.apply(next(read_video(source)).image)
    rows, columns = np.nonzero(upright.min(-1) > 120)
    face = upright[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert abs(np.ptp(rows) - 23) <= 2
    assert face[2:4].mean() > 220 > 180 > face[-4:-2].mean()
    assert len(reading_notes(VideoSource(tmp_path / "a.mkv"), source)) == 1 + (roll != 0)


def _two_streams(path, first, second):
    """A video of 30 frames with a picture ``[H, W, 3]``, or 30 of them, in each of its two streams."""
    films = [np.broadcast_to(shown, (30, *shown.shape[-3:])) for shown in (first, second)]
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, film in zip(streams, films, strict=True):
            stream.height, stream.width = film.shape[1:3]
            stream.pix_fmt = "yuv420p"
        for images in zip(*films, strict=True):
            for stream, image in zip(streams, images, strict=True):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode(None))


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
        return _landmarks(np.full((1, 2), -9) if at_edge else points, 0)

    found = find_small_face(VideoSource(tmp_path / "a.mp4"), points_of)
    return None if found is None else found[1]


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
