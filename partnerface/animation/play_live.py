"""An avatar driven while the performer is filmed: pictures in, pictures out, and how long that took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from partnerface.avatar.method import AvatarMethod
from partnerface.files.live_video import LivePicture, NewestPictures
from partnerface.tracking.live import LivePerformer

RECENT = 20
"""Pictures over which rate and latency are averaged while running."""


@dataclass
class LiveFrame:
    """The avatar at one picture of the performer.

    Attributes:
        image: ``[H, W, 3]`` uint8, over white.
        filmed: the performer's picture.
        has_face: False where no face was found and the last view is shown again.
        detect_s: seconds from the picture to the view.
        render_s: seconds from the view to the image.
        latency_s: seconds from when the picture was due to the finished image.
    """

    image: np.ndarray
    filmed: LivePicture
    has_face: bool
    detect_s: float
    render_s: float
    latency_s: float


def play_live(
    avatar: AvatarMethod,
    performer: LivePerformer,
    pictures: NewestPictures,
    size: tuple[int, int],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[LiveFrame]:
    """Render the avatar at each picture that is the newest when the one before is done.

    Args:
        avatar: whom to render.
        performer: drives it.
        pictures: what the performer does.
        size: width and height of the images.
        clock: seconds, by which the pictures are due.
    """
    view, image = avatar.default_view(), None
    for picture in pictures:
        start = clock()
        found = performer.view(picture.image, picture.time)
        detected = clock()
        if found is not None or image is None:
            view = found or view
            image = avatar.render(view, size).to_bytes()
        end = clock()
        yield LiveFrame(
            image, picture, found is not None, detected - start, end - detected, end - picture.due
        )


class LiveFigures:
    """Rate and latency of a live performance, and where the time goes.

    Attributes:
        frames: number of frames.
        without_face: number of those without a face.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.frames = self.without_face = 0
        self._clock = clock
        self._first = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._seconds: list[tuple[float, float, float]] = []

    def note(self, frame: LiveFrame) -> None:
        """Count a frame that has just been finished."""
        now = self._clock()
        self._first = self._first if self.frames else now
        self.frames += 1
        self.without_face += not frame.has_face
        self._recent.append(now)
        self._seconds.append((frame.detect_s, frame.render_s, frame.latency_s))

    def now(self) -> str:
        """The last few frames in words."""
        span = self._recent[-1] - self._recent[0]
        rate = (len(self._recent) - 1) / span if span else 0.0
        latency = np.mean([latency for _, _, latency in self._seconds[-RECENT:]])
        return f"{rate:.1f} frames/s, latency {1000 * latency:.0f} ms"

    def summary(self, dropped: int) -> str:
        """All frames in words, with the number of the performer's pictures that were ``dropped``."""
        if not self.frames:
            return "no pictures came"
        span = self._recent[-1] - self._first
        rate = (self.frames - 1) / span if span else 0.0
        detect, render, latency = 1000 * np.median(self._seconds, axis=0)
        worst = 1000 * np.quantile([latency for _, _, latency in self._seconds], 0.95)
        return (
            f"{self.frames} frames, {rate:.1f} a second; latency {latency:.0f} ms, 95 % in {worst:.0f} ms; "
            f"face {detect:.0f} ms, rendering {render:.0f} ms (medians); {dropped} pictures of the performer "
            f"dropped, {self.without_face} without a face"
        )
