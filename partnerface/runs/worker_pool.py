"""WorkerPool: several runs at a time, each in a process of its own that an interrupt stops in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from partnerface.compute.threads import usable_cores
from partnerface.runs.run import LOG_FILE, Run
from partnerface.runs.stop_signals import Terminated, termination_as_exit

CANNOT_START = 127
"""Exit code of a command that could not be started, as in a shell."""
POLL_SECONDS = 0.2
PATIENCE = ((signal.SIGINT, 30.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""Seconds that a run has to end after each signal; after the first it writes its checkpoint."""

Running = list[tuple[Run, float]]
"""Runs whose processes are running, each with the wall time of its present attempt in seconds."""


class ChildProcess:
    """Starts a run in a process group of its own, with its output appended to the run's log.

    The run finds its folder in ``WANDB_DIR`` and its name in ``WANDB_RUN_ID``, as under a W&B agent. W&B
    is disabled unless ``WANDB_MODE`` is set.

    Args:
        run: the run.
        lock: descriptor of the folder's lock; the child holds it open, so that a child left behind by a
            killed parent keeps the folder locked.
        threads: OpenMP threads of the run unless ``OMP_NUM_THREADS`` is set; None for one a core. Runs at
            once with a thread for every core wait for each other by spinning and take three times as long.
    """

    def __init__(self, run: Run, lock: int, threads: int | None = None) -> None:
        self.run = run
        self._start = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        # Before the folder is prepared: the command depends on what the last attempt has left there.
        words, self._limit = run.remaining_command, run.limit_seconds
        run.prepare()
        with (run.folder / LOG_FILE).open("ab") as log, _default_interrupts():
            try:
                self._process = subprocess.Popen(
                    words,
                    env=_environment(run, threads),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # The terminal's Ctrl-C must not reach it twice.
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            except OSError as error:
                log.write(f"{words[0]}: cannot be started ({error.strerror})\n".encode())

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self._start

    def keep_limit(self) -> None:
        """Kill a process that has taken longer than its run may, and say so in the last line of its log."""
        if self._limit is not None and self.seconds > self._limit and self.exit_code() is None:
            self.send(signal.SIGKILL)
            self._process.wait()
            with (self.run.folder / LOG_FILE).open("ab") as log:
                log.write(f"\nstopped after {self.seconds:.0f} s, which is as long as it may take\n".encode())

    def exit_code(self) -> int | None:
        """Exit code of the process; None while it runs."""
        return CANNOT_START if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it has started."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@contextmanager
def _default_interrupts() -> Iterator[None]:
    """Let children heed SIGINT, which shells start background jobs to ignore: it is when they save."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _environment(run: Run, threads: int | None) -> dict[str, str]:
    """Programs of this installation come first; the user's own W&B mode and threads are kept."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    run_place = {"WANDB_DIR": str(run.folder.absolute()), "WANDB_RUN_ID": run.folder.name}
    few = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    own = {"PATH": path, "PYTHONUNBUFFERED": "1", **run_place}
    return {"WANDB_MODE": "disabled", **few, **os.environ, **own}


class WorkerPool:
    """Runs processes, at most ``workers`` at a time.

    Args:
        workers: processes at a time.
        lock: descriptor that every process holds open; see `ChildProcess`.
        on_end: called with each run that has ended, after its folder records how.
        on_tick: called several times a second with those that are running.
    """

    def __init__(
        self, workers: int, lock: int, on_end: Callable[[Run], None], on_tick: Callable[[Running], None]
    ) -> None:
        self.workers, self.lock = workers, lock
        self.on_end, self.on_tick = on_end, on_tick
        self._running: list[ChildProcess] = []

    def run(self, runs: Sequence[Run]) -> None:
        """Start all runs, in order, each when the one that it comes `after` has ended; a failure stops no
        other.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when every process has ended.
            Terminated: after SIGTERM, when every process has ended.
        """
        waiting = list(runs)
        threads = max(usable_cores() // self.workers, 1) if self.workers > 1 else None
        with termination_as_exit():
            try:
                while waiting or self._running:
                    while (run := self._next(waiting)) is not None:
                        waiting.remove(run)
                        self._running.append(ChildProcess(run, self.lock, threads))
                    self._collect()
                    self.on_tick([(child.run, child.seconds) for child in self._running])
                    if self._running:
                        time.sleep(POLL_SECONDS)
            finally:
                self._stop()

    def _next(self, waiting: Sequence[Run]) -> Run | None:
        """The first run that may start now; None while there is no worker or no such run."""
        if len(self._running) >= self.workers:
            return None
        begun = {child.run.folder for child in self._running} | {run.folder for run in waiting}
        return next((run for run in waiting if run.after is None or run.after.folder not in begun), None)

    def _collect(self) -> None:
        for child in list(self._running):
            child.keep_limit()
            if (code := child.exit_code()) is not None:
                self._running.remove(child)
                child.run.add_attempt(code, child.seconds)
                self.on_end(child.run)

    def _stop(self) -> None:
        """End what is running; a second signal kills them at once."""
        patience = deque(PATIENCE)
        left = list(self._running)
        while left and patience:
            number, seconds = patience.popleft()
            for child in left:
                child.send(number)
            try:
                left = _still_running(left, seconds)
            except (KeyboardInterrupt, Terminated):
                patience = deque(PATIENCE[-1:])
        for child in self._running:
            # A run that ended well in this moment was not interrupted.
            child.run.add_attempt(0 if child.exit_code() == 0 else None, child.seconds)
        self._running.clear()


def _still_running(children: list[ChildProcess], seconds: float) -> list[ChildProcess]:
    """The children that still run after at most so many seconds."""
    end = time.monotonic() + seconds
    while True:
        children = [child for child in children if child.exit_code() is None]
        if not children or time.monotonic() > end:
            return children
        time.sleep(POLL_SECONDS / 2)
