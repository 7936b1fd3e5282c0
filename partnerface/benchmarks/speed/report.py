"""The report of a benchmark: a JSON file that is rewritten whole after every section, and a table."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from partnerface.benchmarks.speed.rendering import FRAME_SIZE
from partnerface.benchmarks.speed.result_row import ResultRow
from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text

FORMAT_VERSION = 1
PROFILE_TITLES = {
    "training_step": "one training step, one thread",
    "rendered_frame": f"one frame of {FRAME_SIZE}x{FRAME_SIZE}, summed over threads",
}

RESUMABLE = ("convergence", "quality")
"""Sections of long trainings: those that an earlier run left in the file are kept."""


class SpeedReport:
    """Collects rows and sections and keeps the file up to date.

    Args:
        path: the JSON file, made at once so that a wrong place ends the run at its start.
        environment: what the numbers travel with.

    Attributes:
        sections: profiles, growth curves and convergence, by name.

    Raises:
        UserError: the file cannot be written, or it holds something else.
    """

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path, self.environment = path, environment
        self.rows: list[ResultRow] = []
        self.sections: dict[str, Any] = {}
        earlier = _earlier(path)
        self.sections |= {name: earlier[name] for name in RESUMABLE if earlier.get(name)}
        self.save()

    def add(self, *rows: ResultRow) -> None:
        """Take rows and save."""
        self.rows += rows
        self.save()

    def replace(self, row: ResultRow) -> None:
        """Take a row in the place of the one of its name, and save."""
        self.rows = [row if earlier.name == row.name else earlier for earlier in self.rows]
        self.save()

    def as_json(self) -> dict[str, Any]:
        return {
            "suite": "speed",
            "format_version": FORMAT_VERSION,
            **self.environment,
            "rows": [row.as_json() for row in self.rows],
            **self.sections,
        }

    def save(self) -> None:
        """Write the file: the old one or the new one, never half of either."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self.path, json.dumps(self.as_json(), indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"--json {self.path}: cannot be written ({error}); choose another file"
            ) from error
        except UserError as error:
            raise UserError(f"--json {error}; choose another file") from error


def _earlier(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("suite") != "speed":
        raise UserError(f"--json {path}: holds something else than a speed benchmark; choose another file")
    return found


def rows_table(rows: list[ResultRow]) -> Table:
    """Name, value with its spread, unit, target, holds."""
    columns = ("name", "value", "min - max", "by CPU time", "unit", "target", "holds")
    table = Table(*columns, title="partnerface benchmark speed")
    for row in rows:
        spread = f"{shown(min(row.samples))} - {shown(max(row.samples))}" if row.samples else ""
        holds = {True: "yes", False: "[red]no[/red]", None: "-"}[row.holds]
        value = shown(row.value) if row.value is not None else f"- ({row.note})"
        by_cpu = shown(median(row.by_cpu_time)) if row.by_cpu_time else ""
        table.add_row(row.name, value, spread, by_cpu, row.unit, str(row.target or "-"), holds)
    return table


def stages_table(title: str, stages: list[dict[str, Any]]) -> Table:
    """Stage, milliseconds, share, points, and their sum."""
    table = Table("stage", title=title)
    for column in ("CPU ms", "share", "points"):
        table.add_column(column, justify="right")
    for row in stages:
        points = "" if row["points"] is None else f"{row['points']:,}"
        table.add_row(row["stage"], f"{row['milliseconds']:.1f}", f"{row['share']:.0%}", points)
    table.add_section()
    table.add_row("total", f"{sum(row['milliseconds'] for row in stages):.1f}", "100%", "")
    return table


def shown(value: float) -> str:
    """A value with three digits, or whole from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_tables(*tables: Table) -> None:
    """Print tables, not cut to the 80 columns that a file or a pipe is taken for."""
    console = Console()
    console.width = console.width if console.is_terminal else max(console.width, 130)
    for table in tables:
        console.print(table)
