"""A first look at a video: which of its streams shows a face, and which way up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from partnerface.errors import UserError
from partnerface.files.containers import opened_video, video_streams
from partnerface.files.video_reading.read import read_video
from partnerface.files.video_reading.source import VideoSource

SIDE = 640
"""Longer side in pixels of the pictures that are looked at."""

INTERVAL_S, INTERVAL_GROWTH, LONGEST_INTERVAL_S = 0.3, 1.2, 2.0
"""Time between pictures that are looked at; it grows while no face is found."""

ENOUGH = 3
"""Pictures that must agree."""

_TURNED = {
    1: "the head lies on its side: turned by 90 degrees counter-clockwise",
    2: "the head is upside down: turned by 180 degrees",
    3: "the head lies on its side: turned by 90 degrees clockwise",
}


def choose_reading(
    source: VideoSource, roll_of: Callable[[np.ndarray], float | None]
) -> tuple[VideoSource, list[str]]:
    """The source with the stream that shows a face and the turn that makes it upright, and what to say of it.

    Args:
        source: the video; a stream that it names is kept.
        roll_of: angle in degrees by which the face in a picture ``[H, W, 3]`` uint8 is turned clockwise;
            None without a face.

    Raises:
        UserError: the video cannot be read.
    """
    streams = [source.stream]
    if not source.is_pictures and source.stream is None:
        with opened_video(source.path) as container:
            streams = [stream.index for stream in video_streams(container)]
    for number, stream in enumerate(streams):
        found = replace(source, stream=stream)
        try:
            turn = _upright_turn(found, roll_of)
        except UserError:
            if len(streams) == 1:
                raise
            continue  # another stream may be whole
        if turn is None:
            continue
        notes = []
        if len(streams) > 1:
            notes.append(f"video stream {number + 1} of {len(streams)} is used: the first with a face")
        if turn:
            notes.append(_TURNED[turn])
        return replace(found, quarter_turns=turn), notes
    return source, []


def _upright_turn(source: VideoSource, roll_of: Callable[[np.ndarray], float | None]) -> int | None:
    """Quarter turns, counter-clockwise, after which faces are upright; None without a face."""
    votes: Counter[int] = Counter()
    due, interval = 0.0, INTERVAL_S
    for frame in read_video(source):
        if frame.time < due:
            continue
        turn = _vote(_reduced(frame.image), roll_of)
        if turn is None:
            interval = min(interval * INTERVAL_GROWTH, LONGEST_INTERVAL_S)
        else:
            votes[turn] += 1
            if votes[turn] >= ENOUGH:
                return turn
        due = frame.time + interval
    return votes.most_common(1)[0][0] if votes else None


def _vote(image: np.ndarray, roll_of: Callable[[np.ndarray], float | None]) -> int | None:
    """The turn of one picture on which most of its four turns agree.

    An upside-down face may be taken for an upright one, but one that lies on its side is found as such.
    """
    votes: Counter[int] = Counter()
    for turn in range(4):
        roll = roll_of(np.ascontiguousarray(np.rot90(image, turn)))
        if roll is not None:
            votes[(turn + round(roll / 90)) % 4] += 1
    turn, count = votes.most_common(1)[0] if votes else (0, 0)
    return turn if count >= 2 else None


def _reduced(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture)
