"""Progress of work in equal pieces, with the time left: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from partnerface.runs.engine import clock

SECONDS_BETWEEN_LINES = 30.0


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
        disable=not console.is_terminal,
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
        if not console.is_terminal and now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            console.print(f"{title}: {done + count}/{total} · {clock(left)} left", highlight=False)

    with bar:
        yield advance
