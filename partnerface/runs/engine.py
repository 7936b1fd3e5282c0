"""The engine of commands that make many runs: a locked folder, workers, progress and failures."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from filelock import lock_descriptor
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from partnerface.errors import UserError
from partnerface.runs.run import LOG_FILE, Run
from partnerface.runs.worker_pool import Running, WorkerPool

LOCK_FILE = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Hold an existing folder against every other command that makes runs in it.

    Yields the descriptor of the lock. Children that inherit it hold the folder too, so that a run left
    behind by a killed command is not started a second time.

    Raises:
        UserError: another command, or a run that one has left behind, uses the folder.
    """
    descriptor = os.open(out / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            held = lock_descriptor(descriptor, blocking=False)
        except OSError:  # a file system without locks
            held = True
        if not held:
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

    Raises:
        UserError: a run has failed; the message begins with ``command``.
    """
    failed = [run for run in runs if run.state == "failed"]
    for run in failed:
        print(f"failed: {run.title}: {run.failure()} (see {run.folder / LOG_FILE})")
    if failed:
        raise UserError(
            f"{command}: {len(failed)} of {len(runs)} runs failed, listed above; "
            "the same command tries them again"
        )


UNKNOWN = "time left is known after the first run"


class RunsProgress:
    """Prints a line for each run that ends, with the time left; a terminal also has a bar. A context manager.

    Args:
        name: label of the bar.
        runs: all runs, in the order in which they will start; those that are finished tell the pace.
        workers: runs at a time.
        describe: what a finished run found, in a few words.
    """

    def __init__(
        self, name: str, runs: Sequence[Run], workers: int, describe: Callable[[Run], str] = Run.result
    ) -> None:
        self._runs, self._workers, self._describe = {run.folder: run for run in runs}, workers, describe
        # Time that earlier attempts took of what a run needs.
        self._spent: dict[Path, float] = {}
        self._finished: list[tuple[float, float]] = []
        self._ended: set[Path] = set()
        self._running: Running = []
        self._failed = 0
        for run in runs:
            attempts = run.attempts()
            if run.state == "finished" and attempts:
                self._ended.add(run.folder)
                self._finished.append((_cost(run), attempts.seconds))
            elif attempts and run.resumes:
                self._spent[run.folder] = attempts.seconds
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            refresh_per_second=2,
        )
        self._task = self._bar.add_task(name, total=len(runs), completed=len(self._ended), text="")

    def __enter__(self) -> RunsProgress:
        done, total = len(self._ended), len(self._runs)
        before = f"{done} of {total} runs have finished before" if done else f"{total} runs"
        self._print(f"{before}; {self._time_left()}, {self._workers} at once")
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tick(self, running: Running) -> None:
        """Update the bar."""
        self._running = running
        text = f"{len(running)} running · {self._time_left()}"
        text += f" · [red]{self._failed} failed[/red]" if self._failed else ""
        self._bar.update(self._task, completed=len(self._ended), text=text)

    def end(self, run: Run) -> None:
        """Print a line about a run that has ended."""
        self._ended.add(run.folder)
        attempts = run.attempts()
        if run.state == "finished" and attempts:
            self._finished.append((_cost(run), attempts.seconds))
            result = f"{self._describe(run)} in {clock(attempts.seconds)}"
        else:
            self._failed += 1
            result = f"failed: {run.failure()}"
        number = f"{len(self._ended)}/{len(self._runs)}"
        self._print(f"{number} {run.title}: {result}; {self._time_left()}")

    def _time_left(self) -> str:
        running = [(run, seconds) for run, seconds in self._running if run.folder not in self._ended]
        begun = self._ended | {run.folder for run, _ in running}
        waiting = [run for folder, run in self._runs.items() if folder not in begun]
        if not self._finished and any(run.expected_seconds is None for run in self._runs.values()):
            return UNKNOWN
        left = seconds_left(
            self._finished,
            [(_cost(run), seconds + self._spent.get(run.folder, 0.0)) for run, seconds in running],
            [(_cost(run), self._spent.get(run.folder, 0.0)) for run in waiting],
            self._workers,
        )
        return f"about {clock(left)} left"

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cost(run: Run) -> float:
    """Expected seconds of a run, or 1 for runs that are taken to last equally long."""
    return 1.0 if run.expected_seconds is None else run.expected_seconds


def seconds_left(
    finished: Sequence[tuple[float, float]],
    running: Sequence[tuple[float, float]],
    waiting: Sequence[tuple[float, float]],
    workers: int,
) -> float:
    """Wall time in seconds until the last run ends, if all keep the pace of those that have finished.

    Every run is a pair: what it is expected to cost, in any unit (seconds if none has finished), and the
    seconds that it has taken so far. The pace is the seconds for a unit of cost. A late one among
    the running is taken to end now; waiting ones are in the order of their start.
    """
    expected = sum(cost for cost, _ in finished)
    pace = sum(seconds for _, seconds in finished) / expected if expected else 1.0
    ends = [max(pace * cost - seconds, 0.0) for cost, seconds in running]
    ends += [0.0] * (workers - len(ends))
    heapq.heapify(ends)
    for cost, seconds in waiting:
        # The next run starts on the worker that is free first.
        heapq.heapreplace(ends, ends[0] + max(pace * cost - seconds, 0.0))
    return max(ends)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, for lines of progress.

    >>> clock(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))
