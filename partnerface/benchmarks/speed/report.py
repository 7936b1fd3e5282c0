"""SpeedReport: the results of `benchmark speed`, in a JSON file that is rewritten after every section."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from partnerface.benchmarks.speed.result_row import ResultRow
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import replace_text

FORMAT_VERSION = 1
RESUMABLE = ("convergence", "quality")
"""Sections of long trainings, which are kept if an earlier run has written them."""


class SpeedReport:
    """Collects rows and sections and keeps the file up to date.

    Args:
        path: the JSON file, written at once so that a wrong path ends the run at its start.
        environment: command, commit and machine; see `partnerface.runs.results.environment`.

    Attributes:
        rows: measured values.
        sections: profiles, convergence and quality, by name.

    Raises:
        UserError: the file cannot be written, or holds something else than a report.
    """

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path, self.environment = path, environment
        self.rows: list[ResultRow] = []
        self.sections: dict[str, Any] = {}
        earlier = _earlier(path)
        self.sections |= {name: earlier[name] for name in RESUMABLE if earlier.get(name)}
        self.save()

    def add(self, *rows: ResultRow) -> None:
        """Append rows and save."""
        self.rows += rows
        self.save()

    def replace(self, row: ResultRow) -> None:
        """Replace the row of the same name and save."""
        self.rows = [row if earlier.name == row.name else earlier for earlier in self.rows]
        self.save()

    def as_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            "suite": "speed",
            "format_version": FORMAT_VERSION,
            **self.environment,
            "rows": [row.as_json() for row in self.rows],
            **self.sections,
        }

    def save(self) -> None:
        """Write the file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self.path, json.dumps(self.as_json(), indent=1) + "\n")
        except (OSError, UserError) as error:
            message = f"--json {self.path}: cannot be written ({error}); choose another file"
            raise UserError(message) from error


def _earlier(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = read_json_table(path, "choose another --json")
    if found.get("suite") != "speed":
        raise UserError(f"--json {path}: holds something else than a speed benchmark; choose another file")
    return found
