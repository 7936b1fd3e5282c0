"""ClipRecorder: the pictures of a page as a video file."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from partnerface.errors import UserError
from partnerface.files.videos import write_video

LONGEST_S = 120
"""Seconds after which a recording takes no more."""

WAITING = 8
"""Pictures that may wait to be encoded."""


class ClipRecorder:
    """Encodes pictures while they come.

    Args:
        fps: frames per second of the video.
        size: width and height of the video; pictures of other sizes are resized.
    """

    def __init__(self, fps: float, size: tuple[int, int]) -> None:
        self.fps, self.size, self.frames = fps, size, 0
        self._folder = tempfile.TemporaryDirectory(prefix="partnerface-clip-")
        self._path = Path(self._folder.name) / "clip.mp4"
        self._waiting: queue.Queue[np.ndarray | None] = queue.Queue(WAITING)
        self._encoder = ThreadPoolExecutor(1, "clip")
        self._written: Future | None = None
        self._last: tuple[np.ndarray, float] | None = None

    def add_frame(self, image: np.ndarray) -> None:
        """Append one frame ``[H, W, 3]`` uint8.

        Raises:
            UserError: the video cannot be written.
        """
        if self.frames >= LONGEST_S * self.fps:
            return
        if self._written is None:
            self._written = self._encoder.submit(write_video, self._path, self._arriving(), self.fps)
        if image.shape[1::-1] != self.size:
            image = np.asarray(Image.fromarray(image).resize(self.size, Image.Resampling.BICUBIC))
        self._put(image)
        self.frames += 1

    def add_at(self, image: np.ndarray, time: float) -> None:
        """Take what is shown from a time on, in seconds; it is repeated until the next one comes."""
        self._fill(time)
        start = time if self._last is None else self._start
        self._start, self._last = start, (image, time)

    def finish(self, time: float) -> bytes | None:
        """The video file, with what was taken by `add_at` shown until a time; None without a picture.

        Raises:
            UserError: the video could not be written.
        """
        try:
            self._fill(time)
            if self._written is None:
                return None
            self._put(None)
            self._written.result()
            return self._path.read_bytes()
        finally:
            self.discard()

    def discard(self) -> None:
        """Give the recording up and remove its file."""
        if self._written is not None and not self._written.done():
            with suppress(UserError):
                self._put(None)
        self._encoder.shutdown()
        self._folder.cleanup()

    def _fill(self, time: float) -> None:
        """Repeat the last picture of `add_at` up to a time."""
        if self._last is not None:
            for _ in range(
                min(round((time - self._start) * self.fps), LONGEST_S * round(self.fps)) - self.frames
            ):
                self.add_frame(self._last[0])

    def _arriving(self) -> Iterator[np.ndarray]:
        while (image := self._waiting.get()) is not None:
            yield image

    def _put(self, image: np.ndarray | None) -> None:
        while not self._written.done():
            try:
                self._waiting.put(image, timeout=0.1)
                return
            except queue.Full:
                continue
        # It ended before its time: the error says why.
        self._written.result()
