"""results.json: a row for each run, test split and protocol, with the command that repeats it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partnerface.benchmarks.methods.run import ENVIRONMENT_FILE, METRICS_FILES, BenchmarkRun
from partnerface.data.splits import SAMPLE
from partnerface.errors import UserError
from partnerface.evaluation.report import NEAREST_FRAME
from partnerface.files.whole_files import replace_text
from partnerface.runs.run import LOGGED_VALUES_FILE

RESULTS_FILE = "results.json"

Row = dict[str, Any]


def rows_of(run: BenchmarkRun) -> list[Row]:
    """The rows of a finished run.

    Raises:
        UserError: a file in the run's folder is unreadable.
    """
    paths = [run.folder / name for name in METRICS_FILES]
    return [row for path in paths if path.is_file() for row in _rows_of_report(run, _load(path))]


def _rows_of_report(run: BenchmarkRun, report: Mapping[str, Any]) -> list[Row]:
    protocol = report["protocol"]
    environment = _load(run.folder / ENVIRONMENT_FILE)
    attempts = run.attempts()
    return [
        {
            "method": run.variant.method,
            "overrides": dict(run.variant.overrides),
            "subject": run.subject.name,
            "source": run.subject.spec,
            "split": split,
            "protocol": protocol["test_parameters"],
            "seed": run.seed,
            "budget": run.budget.as_json(),
            "metrics": {name: values for name, values in regions.items() if name != NEAREST_FRAME},
            NEAREST_FRAME: regions.get(NEAREST_FRAME, {}),
            "frames": protocol["num_frames"][split],
            "train_frames": protocol["num_train_frames"],
            "resolution": protocol["resolution"],
            "lpips": protocol["lpips"],
            "coverage": report.get("coverage", {}).get(split),
            "steps": _steps(run),
            "cpu_seconds": run.logged().get(run.metric),
            "wall_seconds": attempts.seconds if attempts else None,
            "command": run.command,
            **environment,
            "run": run.folder.name,
        }
        for split, regions in report["splits"].items()
    ]


def _steps(run: BenchmarkRun) -> int | None:
    """Steps of the whole training; None if none was logged."""
    with (run.folder / LOGGED_VALUES_FILE).open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row.get("name") == run.metric]
    return steps[-1] if steps else None


def read_results(path: Path) -> list[Row]:
    """Rows that earlier calls have written; none if there is no file.

    Raises:
        UserError: the file does not hold such rows.
    """
    if not path.is_file():
        return []
    rows = _load(path)
    keys = {"method", "overrides", "subject", "split", "protocol", "seed", "budget", "metrics", "command"}
    if not isinstance(rows, list) or any(not isinstance(r, dict) or keys - r.keys() for r in rows):
        raise UserError(f"{path}: holds something else than a benchmark's results; choose another --out")
    return rows


def merged_rows(before: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Old rows and new ones; a new one replaces that of the same method, subject, split and seed."""
    return list({_key(row): row for row in [*before, *new]}.values())


def gather_rows(path: Path, runs: Iterable[BenchmarkRun]) -> list[Row]:
    """Add the rows of all finished runs to the file and return all that it holds then."""
    finished = [run for run in runs if run.state == "finished"]
    rows = merged_rows(read_results(path), (row for run in finished for row in rows_of(run)))
    replace_text(path, json.dumps(rows, indent=1) + "\n")
    return rows


def head_psnr_text(run: BenchmarkRun) -> str:
    """PSNR inside the head mask of a finished run by split, for a line of progress."""
    values = {row["split"]: row["metrics"].get("head_mask", {}).get("psnr") for row in rows_of(run)}
    whole = {split: value for split, value in values.items() if not split.endswith(SAMPLE)}
    shown = [
        f"{split.replace('_', ' ')} {v:.2f} dB" for split, v in (whole or values).items() if v is not None
    ]
    return ", ".join(shown) or "no score"


def check_budgets(path: Path, rows: Iterable[Row], runs: Iterable[BenchmarkRun]) -> None:
    """Keep results under different budgets in different folders.

    Args:
        path: of the results, for the message.
        rows: what it holds.
        runs: what is to be added.

    Raises:
        UserError: the rows of a subject have another budget than its runs.
    """
    budgets = {run.subject.name: run.budget.as_json() for run in runs}
    for row in rows:
        if row["budget"] != budgets.get(row["subject"], row["budget"]):
            found = " ".join(f"{name} {value:g}" for name, value in row["budget"].items())
            raise UserError(f"{path}: holds {row['subject']} under {found}; choose another --out")


def _key(row: Row) -> tuple[str, ...]:
    names = ("method", "overrides", "subject", "split", "protocol", "seed")
    return tuple(json.dumps(row[name], sort_keys=True) for name in names)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run again") from error
