"""What many runs found: scores over seeds, and tables of text that are printed or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

CONSOLE_WIDTH = 160
"""Columns of output into a file or a pipe, which would be taken for 80."""


@dataclass(frozen=True)
class SeedScores:
    """One score of runs that differ in nothing but their seed.

    Attributes:
        values: one for each seed, at least one.
        sampled: whether they were measured on a sample of the test frames.
    """

    values: tuple[float, ...]
    sampled: bool = False

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class TextTable:
    """A table of text whose first column holds names and whose others hold values.

    Attributes:
        titles: of the columns.
        rows: as many cells each.
        caption: stands above the printed table.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def as_markdown(self) -> str:
        """The table without its caption; a bar in a cell is escaped.

        >>> print(TextTable(["what", "dB"], [["ours", "27.1"]]).as_markdown())
        | what | dB |
        | --- | ---: |
        | ours | 27.1 |
        """
        rule = ["---", *("---:" for _ in self.titles[1:])]
        lines = ([cell.replace("|", r"\|") for cell in row] for row in [self.titles, rule, *self.rows])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def print(self) -> None:
        """Print the table; brackets in cells are no markup."""
        table = Table(title=escape(self.caption) or None)
        for place, title in enumerate(self.titles):
            table.add_column(escape(title), justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row))
        print_wide(table)


def print_wide(content: RenderableType) -> None:
    """Print a table or Markdown as wide as the terminal, and `CONSOLE_WIDTH` columns wide elsewhere."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, CONSOLE_WIDTH)
    console.print(content)
