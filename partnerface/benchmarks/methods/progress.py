"""BenchmarkProgress: which runs are done, what they scored and when the last one ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from rich.console import Console

from partnerface.benchmarks.methods.run import BenchmarkRun
from partnerface.runs.progress import runs_bar
from partnerface.runs.run_folder import SweepRun

START_SECONDS = 16.0
"""Of a training and a test: imports, decoding, files."""

STEP_SECONDS = 0.12

REFINEMENT_SECONDS = 2.5
"""Of fitting the parameters of a test frame."""

PIXEL_SECONDS = {False: 2e-5, True: 4.5e-4}
"""CPU seconds of rendering and scoring a pixel, of methods tested on all frames and on samples."""

TYPICAL_FRAMES = {False: 100, True: 10}


def expected_seconds(run: BenchmarkRun) -> float:
    """CPU seconds that a run is taken to need before any like it has ended."""
    budget = run.budget
    training = STEP_SECONDS * budget.steps if budget.cpu_seconds is None else budget.cpu_seconds
    frames = TYPICAL_FRAMES[run.is_sampled]
    testing = PIXEL_SECONDS[run.is_sampled] * run.subject.size**2 * frames
    if run.refined and not run.is_sampled:
        testing += START_SECONDS / 2 + testing + REFINEMENT_SECONDS * frames
    return START_SECONDS + training + testing


def seconds_left(
    waiting: Sequence[BenchmarkRun],
    at_work: Sequence[float],
    finished: Sequence[tuple[BenchmarkRun, float]],
    workers: int,
) -> float:
    """Wall time until the last run ends.

    Args:
        waiting: runs that have not ended, those at work among them.
        at_work: wall time so far of those.
        finished: runs that have ended, with their wall time.
        workers: runs at once.
    """
    # How much longer than expected they take here; one that has just begun to differ counts little.
    expected = sum(expected_seconds(run) for run, _ in finished)
    pace = sum(seconds for _, seconds in finished) / expected if expected else 1.0
    total = pace * sum(expected_seconds(run) for run in waiting)
    return max(total - sum(at_work), 0.0) / max(min(workers, len(waiting)), 1)


class BenchmarkProgress:
    """A bar on a terminal, a line for each run elsewhere. A context manager.

    Args:
        runs: all runs.
        workers: runs at once.
        describe: what a finished run scored, in a few words.
    """

    def __init__(
        self, runs: Sequence[BenchmarkRun], workers: int, describe: Callable[[BenchmarkRun], str]
    ) -> None:
        self._workers, self._describe = workers, describe
        self._by_folder = {run.folder: run for run in runs}
        self._finished: list[tuple[BenchmarkRun, float]] = []
        for run in runs:
            if run.sweep_run.state == "finished" and (record := run.sweep_run.record()):
                self._finished.append((run, record.seconds))
        self._ended = {run.folder for run, _ in self._finished}
        self._console = Console(stderr=True)
        self._progress = runs_bar(self._console)
        self._task = self._progress.add_task("methods", total=len(runs), completed=len(self._ended), text="")

    def __enter__(self) -> BenchmarkProgress:
        left = self.left([])
        done = f", {len(self._ended)} have finished before" if self._ended else ""
        self._print(f"{len(self._by_folder)} runs{done}; about {clock(left)}, {self._workers} at once")
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def left(self, at_work: Sequence[float]) -> float:
        """Seconds until the last run ends; see `seconds_left`."""
        waiting = [run for folder, run in self._by_folder.items() if folder not in self._ended]
        return seconds_left(waiting, at_work, self._finished, self._workers)

    def tick(self, at_work: list[float]) -> None:
        """Show the time left.

        Args:
            at_work: seconds so far of the runs at work.
        """
        text = f"{len(at_work)} at work · about {clock(self.left(at_work))} left"
        self._progress.update(self._task, completed=len(self._ended), text=text)

    def end(self, ended: SweepRun) -> None:
        """Take note of a run that ended."""
        run = self._by_folder[ended.folder]
        self._ended.add(ended.folder)
        record = ended.record()
        if ended.state == "finished" and record:
            self._finished.append((run, record.seconds))
            text = f"{self._describe(run)} in {clock(record.seconds)}"
        else:
            text = f"failed: {ended.reason()}"
        self._print(
            f"{len(self._ended)}/{len(self._by_folder)} {run.title}: {text}, {clock(self.left([]))} left"
        )

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))
