"""The engine of commands that make many runs: a locked folder, workers, progress and failures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from partnerface.errors import UserError
from partnerface.runs.progress import RunsProgress
from partnerface.runs.run import LOG_FILE, Run
from partnerface.runs.worker_pool import WorkerPool

LOCK_FILE = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Hold a folder against every other command that makes runs in it.

    Yields the descriptor of the lock. Children that inherit it hold the folder too, so that a run left
    behind by a killed command is not started a second time.

    Args:
        out: an existing folder.

    Raises:
        UserError: another command, or a run that one has left behind, uses the folder.
    """
    descriptor = os.open(out / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise UserError(f"--out {out}: in use by another command or its runs; wait or choose another")
        yield descriptor
    finally:
        # Closing leaves the lock to children that still run; unlocking would take it from them.
        os.close(descriptor)


def run_all(
    name: str,
    runs: Sequence[Run],
    workers: int,
    lock: int,
    after_each: Callable[[], object],
    describe: Callable[[Run], str] = Run.result,
) -> None:
    """Start or continue every run that has not finished, with progress on stderr.

    Args:
        name: label of the progress bar.
        runs: all runs, finished ones among them.
        workers: runs at a time.
        lock: descriptor from `locked`.
        after_each: called when a run has ended, to write results.
        describe: what a finished run found, in a few words.

    Raises:
        KeyboardInterrupt: after Ctrl-C; running ones have written checkpoints where they can.
        Terminated: the same after SIGTERM.
    """
    todo = [run for run in runs if run.state != "finished"]
    with RunsProgress(name, runs, workers, describe) as progress:

        def on_end(run: Run) -> None:
            after_each()
            progress.end(run)

        WorkerPool(workers, lock, on_end, progress.tick).run(todo)


def refuse_failures(command: str, runs: Sequence[Run]) -> None:
    """List failed runs.

    Args:
        command: begins the message.
        runs: all runs.

    Raises:
        UserError: a run has failed.
    """
    failed = [run for run in runs if run.state == "failed"]
    for run in failed:
        print(f"failed: {run.title}: {run.failure()} (see {run.folder / LOG_FILE})")
    if failed:
        raise UserError(
            f"{command}: {len(failed)} of {len(runs)} runs failed, listed above; "
            "the same command tries them again"
        )
