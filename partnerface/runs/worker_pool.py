"""WorkerPool: runs at work at once, each its own process; an interrupt stops them and keeps what is done."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from partnerface.runs.child_process import ChildProcess
from partnerface.runs.run_folder import SweepRun
from partnerface.compute.cores import usable_cores

POLL_SECONDS = 0.2
PATIENCE = ((signal.SIGINT, 30.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""Seconds that a run is given after each signal: after the first it writes its checkpoint."""


class WorkerPool:
    """Runs commands, at most ``workers`` at once.

    Args:
        workers: processes at once.
        command_of: the words of a run's command.
        lock: descriptor that every process holds open.
        on_end: called with each run that has ended and been written down.
        on_tick: called now and then with the wall time so far of the runs at work.
    """

    def __init__(
        self,
        workers: int,
        command_of: Callable[[SweepRun], Sequence[str]],
        lock: int,
        on_end: Callable[[SweepRun], None],
        on_tick: Callable[[list[float]], None],
    ) -> None:
        self.workers, self.command_of, self.lock = workers, command_of, lock
        self.on_end, self.on_tick = on_end, on_tick
        self._at_work: list[ChildProcess] = []

    def run(self, runs: Sequence[SweepRun]) -> None:
        """Run all, in order; a run that fails stops no other.

        Raises:
            KeyboardInterrupt: as it came, after every process has ended.
        """
        waiting = deque(runs)
        threads = max(usable_cores() // self.workers, 1) if self.workers > 1 else None
        with _termination_as_interrupt():
            try:
                while waiting or self._at_work:
                    while waiting and len(self._at_work) < self.workers:
                        run = waiting.popleft()
                        self._at_work.append(ChildProcess(run, self.command_of(run), self.lock, threads))
                    self._collect()
                    self.on_tick([child.seconds for child in self._at_work])
                    if self._at_work:
                        time.sleep(POLL_SECONDS)
            finally:
                self._stop()

    def _collect(self) -> None:
        for child in list(self._at_work):
            if (code := child.exit_code()) is not None:
                self._at_work.remove(child)
                child.run.add_attempt(code, child.seconds)
                self.on_end(child.run)

    def _stop(self) -> None:
        """End what is still at work; a second interrupt ends it at once."""
        patience = deque(PATIENCE)
        left = list(self._at_work)
        while left and patience:
            number, seconds = patience.popleft()
            for child in left:
                child.send(number)
            try:
                left = _still_running(left, seconds)
            except KeyboardInterrupt:
                patience = deque(PATIENCE[-1:])
        for child in self._at_work:
            # A run that had just ended well is not one that was interrupted.
            child.run.add_attempt(0 if child.exit_code() == 0 else None, child.seconds)
        self._at_work.clear()


def _still_running(children: list[ChildProcess], seconds: float) -> list[ChildProcess]:
    """Those that run after at most so many seconds."""
    end = time.monotonic() + seconds
    while True:
        children = [child for child in children if child.exit_code() is None]
        if not children or time.monotonic() > end:
            return children
        time.sleep(POLL_SECONDS / 2)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """A sweep that is told to end (SIGTERM) stops its runs as for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
