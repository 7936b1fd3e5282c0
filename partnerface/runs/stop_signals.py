"""Ctrl-C and SIGTERM as requests to stop in order: where it is safe, or by an exception."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_TERMINATED = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """Raised for SIGTERM, so that a process ends in order; its exit code is 143, as in a shell."""

    def __init__(self) -> None:
        super().__init__(EXIT_TERMINATED)


@contextmanager
def termination_as_exit() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM inside the block, where by default the process would end at once."""
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
    """Remembers SIGINT and SIGTERM until `stop` is called; a second one ends the process at once.

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
        """Whether a signal has come since `listen`."""
        return self._received is not None

    def listen(self) -> None:
        """Install handlers; only the main thread can, in others nothing happens."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._received = None
        for number in (signal.SIGINT, signal.SIGTERM):
            if number not in self._before and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Install the handlers again that were there before `listen`."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def stop(self) -> None:
        """Raise the exception of the received signal; that of SIGTERM if another process received it.

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
