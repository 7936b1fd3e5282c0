"""StageClock: time by stages of a computation, measured by wrapping methods of its parts."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TimedMethod:
    """A method whose time counts for a stage.

    Attributes:
        owner: the object, class or module that has it.
        method: its name.
        stage: name of the stage.
        counts_points: whether the rows of its first tensor argument are counted as points of the stage.
    """

    owner: Any
    method: str
    stage: str
    counts_points: bool = False


class StageClock:
    """Adds up the time of nested stages, in which each moment counts for the innermost one.

    Threads nest their stages independently. With the CPU time of the calling thread as clock, the times
    of all stages sum to the CPU time of all threads.

    Args:
        now: clock, in seconds.

    Attributes:
        seconds: by stage.
        points: by stage, for those that count them.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._nesting = threading.local()
        self.seconds: dict[str, float] = {}
        self.points: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a stage; the one around it pauses."""
        now, stack = self._now(), self._stack()
        if stack:
            self._charge(now)
        stack.append(name)
        self._nesting.since = now

    def leave(self) -> None:
        """End the innermost stage of this thread."""
        self._charge(self._now())
        self._stack().pop()

    def add_points(self, name: str, count: int) -> None:
        """Count points of a stage."""
        with self._lock:
            self.points[name] = self.points.get(name, 0) + count

    def _stack(self) -> list[str]:
        if not hasattr(self._nesting, "stack"):
            self._nesting.stack = []
        return self._nesting.stack

    def _charge(self, now: float) -> None:
        name = self._stack()[-1]
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._nesting.since
        self._nesting.since = now

    @contextmanager
    def timing(self, methods: list[TimedMethod]) -> Iterator[None]:
        """Time these methods inside the block; those that their owner does not have are left out."""
        present = [m for m in methods if hasattr(m.owner, m.method)]
        # A method of a class is hidden by an attribute of the instance, which is deleted afterwards.
        own = [vars(m.owner).get(m.method) for m in present]
        for timed in present:
            setattr(timed.owner, timed.method, self._wrapped(timed))
        try:
            yield
        finally:
            for timed, original in zip(present, own, strict=True):
                if original is None:
                    delattr(timed.owner, timed.method)
                else:
                    setattr(timed.owner, timed.method, original)

    def _wrapped(self, timed: TimedMethod) -> Callable:
        original = getattr(timed.owner, timed.method)

        @functools.wraps(original)
        def method(*args, **kwargs):
            if timed.counts_points and (rows := first_tensor(args)) is not None:
                self.add_points(timed.stage, len(rows))
            with self.stage(timed.stage):
                return original(*args, **kwargs)

        return method


def first_tensor(values: tuple) -> Tensor | None:
    """The first tensor among positional arguments."""
    return next((v for v in values if isinstance(v, torch.Tensor)), None)


def stage_table(clock: StageClock, repeats: int) -> list[dict[str, Any]]:
    """Rows with ``stage, milliseconds, share, points`` of one of ``repeats`` equal runs, slowest first."""
    total = sum(clock.seconds.values())
    return [
        {
            "stage": name,
            "milliseconds": 1000 * seconds / repeats,
            "share": seconds / total if total else 0.0,
            "points": round(clock.points[name] / repeats) if name in clock.points else None,
        }
        for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1])
    ]
