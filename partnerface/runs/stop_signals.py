"""StopSignals: Ctrl-C and SIGTERM as requests to stop where it is safe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_TERMINATED = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The process was told to end (SIGTERM) and does so in order; its exit code is 143, as in a shell."""

    def __init__(self) -> None:
        super().__init__(EXIT_TERMINATED)


@contextmanager
def termination_as_exit() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` inside the block, where it would end the process without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopSignals:
    """Notes SIGINT and SIGTERM; a second one ends the process at once.

    Signals that the process was started to ignore, as under `nohup`, stay ignored.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, object] = {}

    def __getstate__(self) -> dict:
        # Handlers belong to the process.
        return {"_received": None, "_before": {}}

    @property
    def received(self) -> bool:
        return self._received is not None

    def listen(self) -> None:
        """Take the signals over; they reach the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._received = None
        for number in (signal.SIGINT, signal.SIGTERM):
            if number not in self._before and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def stop(self) -> None:
        """End as the signal asks; as by SIGTERM where another process received it.

        Raises:
            KeyboardInterrupt: it was SIGINT.
            Terminated: otherwise.
        """
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self.stop()
        self._received = number
