"""What many runs found: scores over seeds, tables of text, and where a measured number comes from."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

import partnerface

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
        titles: titles of the columns.
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


def environment() -> dict[str, Any]:
    """Command line, version, commit and machine of this process, as a table for JSON."""
    return {
        "command": shlex.join(["partnerface", *sys.argv[1:]]),
        "version": partnerface.__version__,
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_at_start": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def _commit() -> str | None:
    """Short commit of the checkout, a plus if tracked files were changed; None for an installed wheel."""
    folder = Path(partnerface.__file__).parent

    def git(*arguments: str) -> str:
        ended = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return ended.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
