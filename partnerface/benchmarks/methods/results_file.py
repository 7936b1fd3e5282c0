"""results.json: one row for each run, test split and protocol, with the command that repeats it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from partnerface.benchmarks.methods.run import REPORTS, BenchmarkRun
from partnerface.data.splits import SAMPLE
from partnerface.errors import UserError
from partnerface.evaluation.report import NEAREST_FRAME
from partnerface.files.whole_files import replace_text
from partnerface.runs.run_folder import METRICS_FILE
from partnerface.training.callbacks.budgets import LOGGED

RESULTS_FILE, ENVIRONMENT_FILE = "results.json", "environment.json"
_ENVIRONMENT = ("version", "commit", "machine")

Row = dict[str, Any]


def write_environment(run: BenchmarkRun, environment: Mapping[str, Any]) -> None:
    """Note in a run's folder with which code and on which machine it is made."""
    run.folder.mkdir(parents=True, exist_ok=True)
    kept = {name: environment[name] for name in _ENVIRONMENT}
    replace_text(run.folder / ENVIRONMENT_FILE, json.dumps(kept, indent=1) + "\n")


def rows_of(run: BenchmarkRun) -> list[Row]:
    """The rows of a finished run.

    Raises:
        UserError: what the run has left cannot be read.
    """
    rows: list[Row] = []
    for name in REPORTS:
        path = run.folder / name
        if path.is_file():
            rows += _rows_of_report(run, _load(path))
    return rows


def _rows_of_report(run: BenchmarkRun, report: Mapping[str, Any]) -> list[Row]:
    protocol = report["protocol"]
    environment = _load(run.folder / ENVIRONMENT_FILE)
    sweep_run = run.sweep_run
    record = sweep_run.record()
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
            "cpu_seconds": sweep_run.logged().get(LOGGED),
            "wall_seconds": record.seconds if record else None,
            "command": run.command,
            **environment,
            "run": run.folder.name,
        }
        for split, regions in report["splits"].items()
    ]


def _steps(run: BenchmarkRun) -> int | None:
    """Steps of the whole training."""
    with (run.folder / METRICS_FILE).open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row.get("name") == LOGGED]
    return steps[-1] if steps else None


def read_results(path: Path) -> list[Row]:
    """Rows of an earlier call; none where there is no file.

    Raises:
        UserError: the file holds something else.
    """
    if not path.is_file():
        return []
    rows = _load(path)
    keys = {"method", "overrides", "subject", "split", "protocol", "seed", "budget", "metrics", "command"}
    if not isinstance(rows, list) or any(not isinstance(r, dict) or keys - r.keys() for r in rows):
        raise UserError(f"{path}: holds something else than a benchmark's results; choose another --out")
    return rows


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Write the file."""
    replace_text(path, json.dumps(rows, indent=1) + "\n")


def merged_rows(before: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Rows of an earlier call with new ones, which take the place of those that answer the same."""
    return list({_key(row): row for row in [*before, *new]}.values())


def gather_rows(path: Path, runs: Iterable[BenchmarkRun]) -> list[Row]:
    """Add the rows of all runs that have finished to the file; returns all that it holds."""
    finished = [run for run in runs if run.sweep_run.state == "finished"]
    rows = merged_rows(read_results(path), (row for run in finished for row in rows_of(run)))
    write_results(path, rows)
    return rows


def head_psnr_text(run: BenchmarkRun) -> str:
    """A finished run's PSNR inside the head mask, in a few words."""
    values = {row["split"]: row["metrics"].get("head_mask", {}).get("psnr") for row in rows_of(run)}
    whole = {split: value for split, value in values.items() if not split.endswith(SAMPLE)}
    shown = [
        f"{split.replace('_', ' ')} {v:.2f} dB" for split, v in (whole or values).items() if v is not None
    ]
    return ", ".join(shown) or "no score"


def check_budgets(path: Path, rows: Iterable[Row], runs: Iterable[BenchmarkRun]) -> None:
    """Keep results under different budgets apart.

    Raises:
        UserError: the file holds rows of a subject under another budget.
    """
    asked = {run.subject.name: run for run in runs}
    for row in rows:
        run = asked.get(row["subject"])
        if run is None:
            continue
        if row["budget"] != run.budget.as_json():
            found = " ".join(f"{name} {value:g}" for name, value in row["budget"].items())
            raise UserError(f"{path}: holds {run.subject.name} under {found}; choose another --out")


def _key(row: Row) -> tuple[str, ...]:
    names = ("method", "overrides", "subject", "split", "protocol", "seed")
    return tuple(json.dumps(row[name], sort_keys=True) for name in names)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run again") from error
