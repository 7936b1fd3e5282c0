"""SweepProgress: how far a sweep is and when it ends: a bar on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import timedelta
from statistics import mean
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from partnerface.runs.run_folder import SweepRun


def runs_bar(console: Console) -> Progress:
    """A bar of runs, silent where the console is no terminal; its tasks have a field ``text``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=2,
    )


class SweepProgress:
    """Shows runs done, at work and failed, and the time left. A context manager.

    Args:
        name: of the sweep.
        runs: all runs; those already finished tell how long one takes.
        workers: processes at once.
    """

    def __init__(self, name: str, runs: Sequence[SweepRun], workers: int) -> None:
        self._total, self._workers = len(runs), workers
        finished = [run for run in runs if run.state == "finished"]
        self._durations = [record.seconds for run in finished if (record := run.record())]
        self._done, self._failed = len(finished), 0
        self._console = Console(stderr=True)
        self._progress = runs_bar(self._console)
        self._task = self._progress.add_task(name, total=self._total, completed=self._done, text="")

    def __enter__(self) -> SweepProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tick(self, at_work: list[float]) -> None:
        """Show the time left.

        Args:
            at_work: seconds so far of the runs at work.
        """
        waiting = self._total - self._done - len(at_work)
        left = seconds_left(self._durations, at_work, waiting, self._workers)
        text = f"{len(at_work)} at work · " + (
            "time left is known after the first run" if left is None else f"about {_clock(left)} left"
        )
        text += f" · [red]{self._failed} failed[/red]" if self._failed else ""
        self._progress.update(self._task, completed=self._done, text=text)

    def end(self, run: SweepRun) -> None:
        """Take note of a run that ended."""
        self._done += 1
        finished, record = run.state == "finished", run.record()
        self._failed += not finished
        if finished and record:
            self._durations.append(record.seconds)
        if not self._console.is_terminal or not finished:
            settings = " ".join(f"{name}={value}" for name, value in run.parameters.items())
            result = f"{run.metric} {run.value():.4g}" if finished else f"failed: {run.reason()}"
            line = f"{self._done}/{self._total} {settings}: {result}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def seconds_left(
    durations: Sequence[float], at_work: Sequence[float], waiting: int, workers: int
) -> float | None:
    """Seconds until the last run ends, if those to come take as long as those before took on average.

    Args:
        durations: of the runs that have ended.
        at_work: seconds so far of the runs at work; one that is late is taken to end now.
        waiting: number of runs to come.
        workers: runs at once.

    Returns:
        None as long as no run has ended.
    """
    if not durations:
        return None
    usual = mean(durations)
    free = [max(usual - seconds, 0.0) for seconds in at_work]
    free += [0.0] * (workers - len(free))
    heapq.heapify(free)
    for _ in range(waiting):
        heapq.heapreplace(free, free[0] + usual)
    return max(free)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
