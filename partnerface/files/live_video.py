"""Live pictures, of a camera or of a video played at its own rate: the newest is taken, none queues up."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import av
import numpy as np

from partnerface.errors import UserError
from partnerface.files.video_reading.read import read_video

CAMERA_OPTIONS = {"framerate": "30", "video_size": "640x480"}
"""What a camera is requested to give; one without this mode gives its nearest."""

CAMERA_PATIENCE_S = 5.0
"""Seconds without a picture after which a camera is taken for lost."""

_OPENING_FAULTS = {
    errno.ENOENT: "there is none; connect one, or name a video file to play it as live",
    errno.ENODEV: "there is none; connect one, or name a video file to play it as live",
    errno.EACCES: "may not be opened; add yourself to the group video",
    errno.EBUSY: "another program uses it; close that",
    errno.ENOTTY: "is no camera; choose the number of another",
}


@dataclass
class LivePicture:
    """A picture as a live source gives it.

    Attributes:
        image: ``[H, W, 3]`` uint8 RGB, contiguous.
        time: seconds since the source's first picture.
        due: when it was there to be taken, in seconds of the clock of `NewestPictures`.
    """

    image: np.ndarray
    time: float
    due: float


def camera_pictures(number: int, folder: Path = Path("/dev")) -> Iterator[LivePicture]:
    """Pictures of a camera of this machine (Video4Linux), as they come.

    Args:
        number: 0 for the first camera.
        folder: where devices are.

    Raises:
        UserError: there is no such camera, or it cannot be used.
    """
    device = folder / f"video{number}"
    try:
        with av.open(str(device), format="v4l2", options=CAMERA_OPTIONS) as container:
            start = None
            for frame in container.decode(video=0):
                due = time.monotonic()
                start = due if start is None else start
                yield LivePicture(np.ascontiguousarray(frame.to_ndarray(format="rgb24")), due - start, due)
    except (OSError, ValueError) as error:  # PyAV's errors are either
        reason = _OPENING_FAULTS.get(getattr(error, "errno", None), f"cannot be used ({error})")
        raise UserError(f"camera {number} ({device}): {reason}") from error
    raise UserError(f"camera {number} ({device}): gives no pictures any more; connect it again")


def played_pictures(
    video: Path,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LivePicture]:
    """Frames of a video file, each when it is due at the video's own rate; late ones at once.

    Raises:
        UserError: as in `read_video`.
    """
    start = None
    for frame in read_video(video):
        start = clock() if start is None else start
        if (early := start + frame.time - clock()) > 0:
            sleep(early)
        yield LivePicture(frame.image, frame.time, start + frame.time)


class NewestPictures:
    """The pictures of a source that waits for nobody: each time the newest, those in between are dropped.

    A thread of its own empties the source, so that no camera driver queues old pictures. Iterating waits for
    a picture that was not taken yet and ends with the source. Used in a ``with`` block.

    Args:
        pictures: the source; what it raises is raised by the iteration.
        patience: seconds without a picture after which a source that has begun is given up.

    Attributes:
        dropped: number of pictures that nobody took.
    """

    def __init__(self, pictures: Iterator[LivePicture], patience: float | None = None) -> None:
        self.dropped, self._patience = 0, patience
        self._pictures = pictures
        self._changed = threading.Condition()
        self._newest: LivePicture | None = None
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._empty, name="live pictures", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Let go of the source after its next picture; a camera that gives none does not hold us."""
        self._closed = True
        self._thread.join(timeout=1)

    def __iter__(self) -> Iterator[LivePicture]:
        patience = None
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._newest is not None or self._ended, patience):
                    raise UserError(f"the camera has given no picture for {patience:g} s; connect it again")
                newest, self._newest = self._newest, None
            patience = self._patience
            if newest is not None:
                yield newest
            elif self._error is not None:
                raise self._error
            else:
                return

    def _empty(self) -> None:
        try:
            for picture in self._pictures:
                if self._closed:
                    break
                with self._changed:
                    self.dropped += self._newest is not None
                    self._newest = picture
                    self._changed.notify()
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()
