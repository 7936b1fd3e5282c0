"""A first look at a video: which of its streams shows a face, which way up, and where a small face is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import TypeVar

import numpy as np
from PIL import Image
from scipy.ndimage import median_filter

from partnerface.errors import UserError
from partnerface.files.video_reading.read import VideoReader, probe_video, read_video, streams_of
from partnerface.files.video_reading.source import VideoSource
from partnerface.head_models.landmark_geometry import CHIN, FOREHEAD_TOP
from partnerface.tracking.detection.landmark_track import SKIN_LANDMARKS
from partnerface.tracking.detection.mattes import HeadCrop
from partnerface.tracking.detection.several_faces import SeveralPeople, follow_faces, require_one_person

SIDE = 640
"""Longer side in pixels of the pictures that are looked at."""

INTERVAL_S, INTERVAL_GROWTH, LONGEST_INTERVAL_S = 0.3, 1.2, 2.0
"""Time between pictures that are looked at; it grows while no face is found."""

STILL_CHANGE = 0.5
"""Mean difference of two pictures, of 255, up to which they are one photograph, which a codec may change."""

ENOUGH = 3
"""Pictures that must agree."""

TILE_SHARES = (1 / 2, 1 / 4)
"""Sides of the tiles in which a small face is looked for, in shorter sides of the picture."""

SMALL_FACE_PICTURES = 12
"""Pictures, spread over the video, in which a small face is looked for."""

WINDOW_FACE_HEIGHTS = 4.0
"""Side of the square around a small face, beyond the places that it moves to, in face heights."""

STRAY_SHIFT, STRAY_SIZE = 2.0, 1.6
"""Distance from the median place in median face heights, and ratio to the median height, beyond both of which
a found face is a false detection. A person who walks keeps the size."""

JUMP_SHIFT = 4.0
"""Median face heights by which no person leaves a place and is back two of the pictures later."""

_TURNED = {
    1: "the head lies on its side: turned by 90 degrees counter-clockwise",
    2: "the head is upside down: turned by 180 degrees",
    3: "the head lies on its side: turned by 90 degrees clockwise",
}


PointsOf = Callable[[np.ndarray], np.ndarray | None]
"""Landmarks ``[478, 2 or more]`` of the face in a picture ``[H, W, 3]`` uint8, in its pixels; None without a
face."""


def choose_reading(source: VideoSource, points_of: PointsOf) -> VideoSource:
    """The source with the stream that shows a face and the turn that makes it upright; as it is without one.

    Args:
        source: the video; a stream that it names is kept.
        points_of: finds the face in a picture.

    Raises:
        UserError: the video cannot be read.
    """
    with_face: list[VideoSource] = []

    def upright(one: VideoSource) -> VideoSource | None:
        turn, moves = _upright_turn(one, points_of)
        if turn is None:
            return None
        found = replace(one, quarter_turns=turn)
        # A stream may hold a photograph of the speaker: one in which something moves goes first.
        with_face.append(found)
        return found if moves else None

    return _in_first_stream(source, upright) or next(iter(with_face), source)


def find_small_face(
    source: VideoSource,
    points_of: PointsOf,
    prepared: Callable[[int, np.ndarray], np.ndarray] = lambda number, image: image,
) -> tuple[VideoSource, HeadCrop] | None:
    """The stream, the turn, and a square at its own resolution in which a face small in the frame is large.

    Args:
        source: the video; a stream that it names is kept.
        points_of: finds the face in a picture. Detectors work on a small copy of the picture, in which small
            faces are lost.
        prepared: what is looked at of the frame of a number, its picture by default.

    Returns:
        None where too few of the pictures that are looked at show a face; false detections do not count.

    Raises:
        UserError: the video cannot be read.
    """

    def closer(one: VideoSource) -> tuple[VideoSource, HeadCrop] | None:
        window, turn = _small_face_window(one, points_of, prepared)
        if turn:
            one = replace(one, quarter_turns=(one.quarter_turns + turn) % 4)
            window, _ = _small_face_window(one, points_of, prepared)
        return None if window is None else (one, window)

    return _in_first_stream(source, closer)


def reading_notes(source: VideoSource, chosen: VideoSource) -> list[str]:
    """What is said of the stream and the turn that were chosen for a source."""
    notes = []
    streams = [one.stream for one in streams_of(source)]
    if len(streams) > 1 and chosen.stream is not None:
        number = streams.index(chosen.stream) + 1
        notes.append(f"video stream {number} of {len(streams)} is used: it shows a face")
    if chosen.quarter_turns:
        notes.append(_TURNED[chosen.quarter_turns])
    return notes


Found = TypeVar("Found")


def _in_first_stream(source: VideoSource, look: Callable[[VideoSource], Found | None]) -> Found | None:
    """What is found in the first stream that has it; an unreadable one is left out if there are others.

    Raises:
        UserError: the only stream cannot be read, or one shows several people.
    """
    streams = streams_of(source)
    for stream in streams:
        try:
            found = look(stream)
        except UserError as error:
            if len(streams) == 1 or isinstance(error, SeveralPeople):
                raise
            continue
        if found is not None:
            return found
    return None


def face_roll(points: np.ndarray) -> float:
    """Degrees by which a face of landmarks ``[478, 2 or more]`` in pixels is turned clockwise."""
    right, down = (points[FOREHEAD_TOP] - points[CHIN])[:2]
    return float(np.degrees(np.arctan2(right, -down)))


def _upright_turn(source: VideoSource, points_of: PointsOf) -> tuple[int | None, bool]:
    """Quarter turns, counter-clockwise, after which faces are upright, None without a face; True if the
    pictures with faces differ.
    """
    votes: Counter[int] = Counter()
    due, interval = 0.0, INTERVAL_S
    first, moves = None, False
    for frame in read_video(source):
        if frame.time < due:
            continue
        picture = _reduced(frame.image)
        turn = _vote(picture, points_of)
        if turn is None:
            interval = min(interval * INTERVAL_GROWTH, LONGEST_INTERVAL_S)
        else:
            votes[turn] += 1
            first = picture if first is None else first
            moves = moves or float(np.abs(picture - first.astype(np.int16)).mean()) > STILL_CHANGE
            if votes[turn] >= ENOUGH:
                return turn, moves
        due = frame.time + interval
    return (votes.most_common(1)[0][0] if votes else None), moves


def _vote(image: np.ndarray, points_of: PointsOf) -> int | None:
    """The turn of one picture on which most of its four turns agree.

    An upside-down face may be taken for an upright one, but one that lies on its side is found as such.
    """
    votes: Counter[int] = Counter()
    for turn in range(4):
        points = points_of(np.ascontiguousarray(np.rot90(image, turn)))
        if points is not None:
            votes[(turn + round(face_roll(points) / 90)) % 4] += 1
    turn, count = votes.most_common(1)[0] if votes else (0, 0)
    return turn if count >= 2 else None


def _reduced(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture)


def _small_face_window(
    source: VideoSource,
    points_of: PointsOf,
    prepared: Callable[[int, np.ndarray], np.ndarray],
) -> tuple[HeadCrop | None, int]:
    """The square, None without one, and the counter-clockwise quarter turns that make most faces upright.

    It is that of the largest face of each picture, without still ones beside one that moves.

    Raises:
        UserError: the video cannot be read, or two faces of comparable size move.
    """
    last = probe_video(source).num_frames - 1
    chosen = set(np.linspace(0, last, SMALL_FACE_PICTURES).astype(int).tolist())
    found: list[tuple[HeadCrop | None, int]] = []
    for share in TILE_SHARES:
        seen, times, shape = [], {}, (0, 0)
        # Read again for the smaller tiles: so many pictures of a large video are not held.
        for k, frame in zip(sorted(chosen), VideoReader(source, chosen), strict=False):
            seen.append((k, _faces_in_tiles(prepared(k, frame.image), share, points_of)))
            times[k], shape = frame.time, frame.image.shape[:2]
        followed = follow_faces(seen)
        living = [face for face in followed if face.moves]
        # False detections are rare at one place.
        often = [face for face in living if len(face.frames) >= SMALL_FACE_PICTURES / 2]
        require_one_person(often, times, source.path)
        moving = [frame for face in living for frame in face.frames]
        # Of one that is alone it cannot be told: a person may sit still.
        posters = [face for face in followed if not face.moves and np.isin(face.frames, moving).any()]
        largest = [
            max(faces, key=lambda points: np.ptp(points[:, 1]))
            for k, whole in seen
            if (faces := [p for p in whole if not any(face.holds(p.mean(0), k) for face in posters)])
        ]
        found.append(_window_around(largest, shape))
        if found[-1][0] is not None and moving:
            return found[-1]
    # None moves: the first face that there is.
    return next((one for one in found if one[0] is not None), (None, 0))


def _window_around(faces: list[np.ndarray], shape: tuple[int, ...]) -> tuple[HeadCrop | None, int]:
    """The square around the places of one face ``[468, 2]`` in pictures of ``shape``, and its turn."""
    found = np.array([[points.min(0), points.max(0)] for points in faces])
    if len(found) < ENOUGH or len(found := found[kept := ~_strays(found)]) < ENOUGH:
        return None, 0
    low, high = found.transpose(1, 0, 2)
    height = float(np.median((high - low).max(1)))
    reach = float((high.max(0) - low.min(0)).max()) - height
    side = int(min(reach + WINDOW_FACE_HEIGHTS * height, *shape)) // 2 * 2
    corner = (low.min(0) + high.max(0) - side) / 2
    x, y = np.clip(np.round(corner), 0, [shape[1] - side, shape[0] - side]).astype(int).tolist()
    turns = np.array([round(face_roll(points) / 90) % 4 for points in faces])
    return HeadCrop(x, y, side, side), Counter(turns[kept].tolist()).most_common(1)[0][0]


def _strays(boxes: np.ndarray) -> np.ndarray:
    """``[N]`` bool, the false detections among boxes ``[N, 2, 2]`` (lower and upper corners) in time order.

    They are far from the others and of another size, or in one picture only.
    """
    centres, heights = boxes.mean(1), np.ptp(boxes[..., 1], axis=1)
    usual = np.median(heights)
    shift = np.linalg.norm(centres - np.median(centres, 0), axis=1) / usual
    other_size = np.abs(np.log(heights / usual)) > np.log(STRAY_SIZE)
    jump = np.linalg.norm(centres - median_filter(centres, (3, 1), mode="nearest"), axis=1) / usual
    return (shift > STRAY_SHIFT) & other_size | (jump > JUMP_SHIFT)


def _faces_in_tiles(image: np.ndarray, share: float, points_of: PointsOf) -> list[np.ndarray]:
    """``[468, 2]`` landmarks in pixels of the picture of each face that a tile shows whole.

    ``share`` is the side of the tiles in shorter sides of the picture.
    """
    side = round(share * min(image.shape[:2]))
    rows, columns = (
        np.linspace(0, length - side, 2 * -(-length // side) - 1).astype(int) for length in image.shape[:2]
    )
    found: list[np.ndarray] = []
    for y, x in product(rows.tolist(), columns.tolist()):
        points = points_of(np.ascontiguousarray(image[y : y + side, x : x + side]))
        if points is None:
            continue
        skin = points[:SKIN_LANDMARKS, :2]
        middle = skin.mean(0) + np.float32([x, y])
        # Tiles overlap, and show a face up to four times.
        again = any(((one.min(0) < middle) & (middle < one.max(0))).all() for one in found)
        if not again and (skin >= 0).all() and (skin < side).all():
            found.append(skin + np.float32([x, y]))
    return found
