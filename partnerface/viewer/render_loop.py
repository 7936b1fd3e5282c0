"""RenderLoop: one thread that renders for all open pages, coarse while something moves and fine at rest."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

PREVIEW_S = 0.2
"""Seconds that a picture may take while something moves; the smallest size is used if none is so fast."""

REFINED_S = 1.0
"""Seconds that a finer picture may take for sizes between to be left out."""

LONGEST_S = 6.0
"""A size that takes longer is never rendered."""

REST_S = 0.15
"""Seconds without a change on any page after which pictures are refined."""

HEIGHTS = (64, 96, 192, 256, 384, 512, 768, 1024)
"""Heights of pictures in pixels, up to the full one."""

logger = logging.getLogger(__name__)


class Superseded(Exception):
    """A picture is not finished: something else is to be rendered now."""


class Page(ABC):
    """What the loop renders for: one open page of a browser."""

    @property
    def complete(self) -> bool:
        """True if the next picture is to have the full size, also while something moves."""
        return False

    @abstractmethod
    def seconds_to_next(self, now: float) -> float | None:
        """Seconds until the page moves by itself, 0 or less if it is due; None while it stands still."""

    @abstractmethod
    def render(self, height: int, check: Callable[[], None]) -> None:
        """Render what the page is to show now, and show it.

        Args:
            height: height of the picture in pixels.
            check: to be called often; raises `Superseded`, which is to be passed on.
        """

    @abstractmethod
    def report(self, message: str) -> None:
        """Show a failure in one line, and stop what moves by itself."""


class Resolution:
    """Which height is rendered next, by the time that pictures took so far.

    Args:
        full: height of the finest pictures.
    """

    def __init__(self, full: int) -> None:
        self.heights = [*(height for height in HEIGHTS if height < full), full]
        self._seconds: dict[int, float] = {}

    def note(self, height: int, seconds: float) -> None:
        """A picture took so long."""
        before = self._seconds.get(height, seconds)
        self._seconds[height] = 0.6 * before + 0.4 * seconds

    def expected(self, height: int) -> float:
        """Seconds that a picture will take: as the last ones, or scaled by pixels from the nearest size."""
        if not self._seconds:
            return 0.0
        nearest = min(self._seconds, key=lambda known: abs(known - height))
        return self._seconds[nearest] * (height / nearest) ** 2

    def moving(self) -> int:
        """The height while something moves: the largest that is fast enough."""
        fast = [height for height in self.heights if self.expected(height) <= PREVIEW_S]
        return max(fast, default=self.heights[0])

    def after(self, shown: int) -> int | None:
        """The next height after the one that is shown; None if that is the finest, or all are too slow."""
        finer = [height for height in self.heights if height > shown]
        quick = [height for height in finer if self.expected(height) <= REFINED_S]
        if quick:
            return quick[-1]
        return finer[0] if finer and self.expected(finer[0]) <= LONGEST_S else None


@dataclass
class _Slot:
    """A page, the height that it shows of its present state (0 for none), and when it was served."""

    page: Page
    requested: bool = True
    shown: int = 0
    served: float = 0.0


class RenderLoop:
    """Renders for open pages, one picture at a time, for each page what it is to show at that moment.

    Requests are not queued: of those that come while a picture is rendered only the last one counts. Pages
    take turns. What moves is rendered first; a change on any page interrupts a refinement.

    Args:
        resolution: the sizes of pictures.
        clock: gives seconds.
    """

    def __init__(self, resolution: Resolution, clock: Callable[[], float] = time.monotonic) -> None:
        self.resolution, self._clock = resolution, clock
        self._slots: list[_Slot] = []
        self._changed = threading.Condition()
        self._requests, self._last_request, self._stopped = 0, -REST_S, False

    def open(self, page: Page) -> None:
        """Start to render for a page."""
        with self._changed:
            self._slots.append(_Slot(page))
            self._note_request()

    def close(self, page: Page) -> None:
        """Forget a page; a picture that is being rendered for it is given up."""
        with self._changed:
            self._slots = [slot for slot in self._slots if slot.page is not page]
            self._note_request()

    def request(self, page: Page) -> None:
        """What a page is to show has changed."""
        with self._changed:
            for slot in self._slots:
                if slot.page is page:
                    slot.requested = True
            self._note_request()

    def stop(self) -> None:
        """Let `run` return."""
        with self._changed:
            self._stopped = True
            self._note_request()

    def run(self) -> None:
        """Render until `stop`; no failure of a page ends it."""
        while True:
            with self._changed:
                seen = self._requests
                if self._stopped:
                    return
            wait = self.step()
            with self._changed:
                if self._requests == seen and wait != 0:
                    self._changed.wait(wait)

    def step(self) -> float | None:
        """Render the picture that is most urgent.

        Returns:
            Seconds to wait before there may be another: 0 after a picture, None until a request.
        """
        now = self._clock()
        with self._changed:
            slots, requests = list(self._slots), self._requests
            to_rest = self._last_request + REST_S - now
        waits = {id(slot): slot.page.seconds_to_next(now) for slot in slots}
        full, moving = self.resolution.heights[-1], self.resolution.moving()
        due = [
            (slot, full if slot.page.complete else moving, None)
            for slot in slots
            if slot.requested or ((wait := waits[id(slot)]) is not None and wait <= 0)
        ]
        still = [
            (slot, finer, requests)
            for slot in slots
            if waits[id(slot)] is None and (finer := self.resolution.after(slot.shown))
        ]
        # Pages that play leave their turns to others at rest; a page that is used does not.
        resting = to_rest <= 0 and not any(slot.requested for slot in slots)
        if candidates := due + (still if resting else []):
            self._render(*min(candidates, key=lambda candidate: candidate[0].served))
            return 0
        upcoming = [wait for wait in waits.values() if wait is not None]
        return min([*upcoming, *([to_rest] if still else [])], default=None)

    def _render(self, slot: _Slot, height: int, requests: int | None) -> None:
        """Render for a page; ``requests`` is their number that interrupts when it changes, None for never."""
        start = self._clock()
        slot.requested, slot.served = False, start

        def check() -> None:
            if self._stopped or (requests is not None and self._requests != requests):
                raise Superseded

        try:
            slot.page.render(height, check)
        except Superseded:
            return
        except Exception as error:
            logger.debug("a page could not be rendered", exc_info=True)
            slot.shown = self.resolution.heights[-1]
            self._report(slot, f"{type(error).__name__}: {error}" if not str(error) else str(error))
            return
        slot.shown = height
        self.resolution.note(height, self._clock() - start)

    def _report(self, slot: _Slot, message: str) -> None:
        try:
            slot.page.report(" ".join(message.split())[:300])
        except ConnectionError:
            # Its browser is gone.
            self.close(slot.page)
        except Exception:
            # The page is still there, and what it is to show next may be shown.
            logger.exception("a failure could not be shown on its page: %s", message)

    def _note_request(self) -> None:
        self._requests += 1
        self._last_request = self._clock()
        self._changed.notify_all()


@contextmanager
def checked_between_steps(module: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before each forward pass inside a module, so that it can end a long computation."""
    hooks = [part.register_forward_pre_hook(lambda *_: check()) for part in module.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
