"""Playback: the place in a performance that a page shows, by the clock; LiveViews: one that happens now."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from partnerface.data.drivers.driver import Driver
from partnerface.data.view import View

POLL_S = 0.01
"""Seconds between two looks for a new live view."""


class LiveViews:
    """The newest of views that come by themselves, such as those of a performer before a camera.

    A thread of its own takes them until `close`.

    Args:
        views: the source: a view (F = 1) after another, None where there is no face. It is closed in the end.

    Attributes:
        count: number of views so far.
        newest: the last one, None before the first.
    """

    def __init__(self, views: Iterable[View | None]) -> None:
        self.count, self.newest = 0, None
        self._views, self._closed, self._fault = views, threading.Event(), None
        threading.Thread(target=self._take, name="live views", daemon=True).start()

    @property
    def failed(self) -> bool:
        """True if the source has raised an error that `check` will raise."""
        return self._fault is not None

    def check(self) -> None:
        """Raise what ended the source, once."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the source after its next view."""
        self._closed.set()

    def _take(self) -> None:
        try:
            for view in self._views:
                if self._closed.is_set():
                    break
                if view is not None:
                    self.newest, self.count = view, self.count + 1
        except Exception as error:
            self._fault = error
        finally:
            if hasattr(self._views, "close"):
                self._views.close()


class Playback:
    """A performance that can be played, paused and searched, or a still view.

    While it plays, frames are left out as needed to keep its pace; with `every_frame` each is shown, however
    long it takes.

    Args:
        still: the view (F = 1) without a performance.
    """

    def __init__(self, still: View) -> None:
        self.still, self.driver, self.live = still, None, None
        self.playing, self.loop, self.every_frame = False, True, False
        self._place, self._started, self._shown = 0, 0.0, -1

    def load(self, performance: Driver | LiveViews | None) -> None:
        """Take another performance, paused at its start if it is no live one; None for the still view."""
        if self.live is not None:
            self.live.close()
        self.live = performance if isinstance(performance, LiveViews) else None
        self.driver = performance if self.live is None else None
        self.playing, self._place, self._shown = False, 0, -1

    def __len__(self) -> int:
        return 0 if self.driver is None else len(self.driver)

    def play(self, now: float) -> None:
        """Play from the present place; from the start at the end of a performance."""
        if self.driver is None:
            return
        if self._place >= len(self) - 1:
            self._place = 0
        self.playing, self._started = True, now - self._place / self.driver.fps

    def pause(self, now: float) -> None:
        """Stop at the present place."""
        self._place, self.playing = self.place(now), False

    def seek(self, place: int, now: float) -> None:
        """Go to a frame; it plays on from there if it plays."""
        self._place = max(0, min(place, len(self) - 1))
        self._shown = self._place - 1
        if self.playing:
            self._started = now - self._place / self.driver.fps

    def place(self, now: float) -> int:
        """Number of the frame to show at a time."""
        if self.driver is None or not self.playing:
            return self._place
        if self.every_frame:
            return (self._shown + 1) % len(self)
        # The sum of a time and a frame's length may round to just below the frame's time.
        place = int((now - self._started) * self.driver.fps + 1e-6)
        return place % len(self) if self.loop else min(place, len(self) - 1)

    def seconds_to_next(self, now: float) -> float | None:
        """Seconds until another frame is due, 0 or less if it is; None while nothing plays."""
        if self.live is not None:
            return 0.0 if self.live.count != self._shown or self.live.failed else POLL_S
        if not self.playing:
            return None
        if self.every_frame or self.place(now) != self._shown:
            return 0.0
        elapsed = (now - self._started) * self.driver.fps
        return (int(elapsed + 1e-6) + 1 - elapsed) / self.driver.fps

    def view(self, now: float) -> tuple[View, int]:
        """The view (F = 1) to show, and its place; playing ends with the last frame unless it loops."""
        if self.live is not None:
            self._shown = self.live.count
            self.live.check()
            return self.live.newest or self.still, 0
        if self.driver is None:
            return self.still, 0
        place = self.place(now)
        self._shown = place
        if self.playing and not self.loop and place == len(self) - 1:
            self._place, self.playing = place, False
        elif self.playing and self.every_frame:
            self._started = now - place / self.driver.fps
        return self.driver[place], place
