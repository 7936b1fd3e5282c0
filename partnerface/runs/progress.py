"""Progress of work in pieces, with the time left: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from partnerface.runs.engine import clock

SECONDS_BETWEEN_LINES = 30.0


def _draws(console: Console) -> bool:
    """Whether bars can be drawn: on a terminal that moves its cursor."""
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def shown_progress(title: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show the progress of the block on standard error; it calls what it is given after each piece.

    The time left is that of the remaining pieces at the mean pace of those that this block has done.

    Args:
        title: stands before the bar.
        total: all pieces.
        done: those that were done before.
    """
    console, start, count = Console(stderr=True), time.monotonic(), 0
    last_line = start
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    bar = Progress(
        *columns,
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=not _draws(console),
        transient=True,
    )
    task = bar.add_task(title, total=total, completed=done, left="")
    if done and done < total:
        console.print(f"{title}: {done} of {total} are there already", highlight=False)

    def advance() -> None:
        nonlocal count, last_line
        count += 1
        now = time.monotonic()
        left = (now - start) / count * (total - done - count)
        bar.update(task, advance=1, left=f"{clock(left)} left")
        if not _draws(console) and now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            console.print(f"{title}: {done + count}/{total} · {clock(left)} left", highlight=False)

    with bar:
        yield advance


class StageProgress(Progress):
    """One bar for each stage of a long work; where there is no terminal, a line on the last stage at times.

    How long the stages that follow will take is not known, and both say that the time left is of one alone.
    The lines come by the clock, so that a stage without a bar of its own, or one of few long pieces, does not
    look like a process that hangs. A context manager; tasks are added as in rich.

    Args:
        title: begins every line.
        seconds_between_lines: time between two lines.
        get_time: the clock, in seconds.
    """

    def __init__(
        self,
        title: str,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
        get_time: Callable[[], float] = time.monotonic,
    ) -> None:
        console = Console(stderr=True)
        # A shorter bar than usual, so that the words fit into 80 columns.
        columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()
        of_stage = TextColumn("left of this stage")
        super().__init__(*columns, of_stage, console=console, disable=not _draws(console), get_time=get_time)
        self._title, self._seconds = title, seconds_between_lines
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._print_lines, daemon=True)

    def start(self) -> None:
        super().start()
        if self.disable:
            self._thread.start()

    def stop(self) -> None:
        super().stop()
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def line(self) -> str:
        """Where the last stage stands: its share, and the time left at its mean pace so far."""
        if not self.tasks:
            return f"{self._title}: begun"
        task = self.tasks[-1]
        elapsed, text = task.elapsed or 0.0, f"{self._title}: {task.description}"
        if not task.total:
            done = f" {task.completed:.0f} done," if task.completed else ""
            return f"{text},{done} for {clock(elapsed)} now"
        left = f" · about {clock(elapsed / task.completed * task.remaining)} left" if task.completed else ""
        return f"{text} {task.percentage:.0f}%{left} of this stage"

    def _print_lines(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.console.print(self.line(), highlight=False, markup=False, soft_wrap=True)
