"""ChildProcess: a run at work in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from partnerface.runs.run_command import trains_an_avatar
from partnerface.runs.run_folder import LOG_FILE, SweepRun

CANNOT_START = 127
"""Exit code of a command that could not be started, as in a shell."""


class ChildProcess:
    """Starts a run's command; what it prints goes into the run's log.

    The command finds its folder in ``WANDB_DIR`` and its name in ``WANDB_RUN_ID``, as under a W&B
    agent, and is expected to leave ``metrics.csv`` there. ``partnerface fit`` is given ``--run_dir``
    too, and ``--ckpt_path last`` where a checkpoint waits.

    Args:
        run: what to run.
        command: its words.
        lock: descriptor of the sweep's lock, held open by the child.
        threads: of OpenMP, or None for one a core. With as many in each of several runs they wait for each
            other by spinning, and the test of an avatar takes three times as long.
    """

    def __init__(self, run: SweepRun, command: Sequence[str], lock: int, threads: int | None = None) -> None:
        self.run = run
        self._start = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        words = run_words(run, command)
        run.prepare()
        with (run.folder / LOG_FILE).open("ab") as log, _heeding_interrupts():
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
        """Wall time so far."""
        return time.monotonic() - self._start

    def exit_code(self) -> int | None:
        """None while it runs."""
        return CANNOT_START if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it has started."""
        if self._process is not None and self._process.poll() is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return


@contextmanager
def _heeding_interrupts() -> Iterator[None]:
    """A shell lets background jobs ignore interrupts, which children would inherit and never save on one."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_words(run: SweepRun, command: Sequence[str]) -> list[str]:
    """The command with the folder and the checkpoint of a run."""
    words = list(command)
    if trains_an_avatar(words):
        words += ["--run_dir", str(run.folder)]
        words += ["--ckpt_path", "last"] if run.resumes else []
    return words


def _environment(run: SweepRun, threads: int | None) -> dict[str, str]:
    """Programs of this installation come first; W&B stays silent and threads few unless told otherwise."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    own = {
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        "WANDB_DIR": str(run.folder.absolute()),
        "WANDB_RUN_ID": run.folder.name,
    }
    few = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    return {"WANDB_MODE": "disabled", **few, **os.environ, **own}
