"""The report of a sweep: `sweep.json`, `sweep.csv` and tables."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from partnerface.runs.run_command import expand_command
from partnerface.runs.run_folder import SweepRun
from partnerface.sweeps.run_settings import Setting, settings_of, short_names, short_value
from partnerface.sweeps.sweep_file import Sweep

JSON_FILE, CSV_FILE, FIGURE_FILE = "sweep.json", "sweep.csv", "sweep.png"


def run_command(sweep: Sweep, run: SweepRun) -> list[str]:
    """The words of a run's command."""
    return expand_command(sweep.command, sweep.program, run.parameters)


def write_report(out: Path, sweep: Sweep, runs: Sequence[SweepRun], environment: Mapping[str, Any]) -> None:
    """Write ``sweep.json`` and ``sweep.csv``: each the old file or the new one, never half of either.

    Args:
        out: folder of the sweep.
        sweep: what was asked.
        runs: all of its runs, in any state.
        environment: what the numbers travel with.
    """
    content = {
        "name": sweep.name,
        "question": sweep.question,
        "method": sweep.method,
        "metric": {"name": sweep.metric, "goal": "maximize" if sweep.maximize else "minimize"},
        **template(sweep),
        **environment,
        "settings": [_setting_row(setting) for setting in sorted_settings(sweep, runs)],
        "runs": [_run_row(sweep, run) for run in runs],
    }
    _replace(out / JSON_FILE, json.dumps(content, indent=1, default=str) + "\n")
    _replace(out / CSV_FILE, _csv_text(sweep, runs))


def template(sweep: Sweep) -> dict[str, Any]:
    """What must not change between calls that share a folder."""
    return {"command_template": list(sweep.command), "program": sweep.program}


def sorted_settings(sweep: Sweep, runs: Sequence[SweepRun]) -> list[Setting]:
    """Settings with results, best first."""
    return sorted(settings_of(runs), key=lambda setting: setting.mean, reverse=sweep.maximize)


def settings_table(sweep: Sweep, runs: Sequence[SweepRun]) -> Table:
    """Every setting with the mean and the spread over its seeds, best first."""
    settings = sorted_settings(sweep, runs)
    short = short_names(list(settings[0].parameters))
    table = Table(*short.values(), title=escape(sweep.question or sweep.name))
    for column in (sweep.metric, "spread", "runs"):
        table.add_column(column, justify="right")
    for setting in settings:
        shown = [escape(short_value(value)) for value in setting.parameters.values()]
        numbers = [f"{setting.mean:.4g}", f"{setting.spread:.2g}", str(len(setting.values))]
        table.add_row(*shown, *numbers)
    return table


def runs_table(sweep: Sweep, runs: Sequence[SweepRun]) -> Table:
    """Every run: parameters, metric, seconds and folder."""
    short = short_names(list(runs[0].parameters))
    table = Table(*short.values(), title="runs")
    for column in (sweep.metric, "seconds"):
        table.add_column(column, justify="right")
    table.add_column("folder")
    for run in runs:
        value, record = run.value(), run.record()
        result = f"{value:.4g}" if run.state == "finished" else f"[red]{run.state}[/red]"
        seconds = short_value(record.seconds) if record else ""
        table.add_row(
            *(escape(short_value(value)) for value in run.parameters.values()),
            result,
            seconds,
            run.folder.name,
        )
    return table


def _setting_row(setting: Setting) -> dict[str, Any]:
    return {
        "parameters": setting.parameters,
        "mean": setting.mean,
        "spread": setting.spread,
        "values": list(setting.values),
    }


def _run_row(sweep: Sweep, run: SweepRun) -> dict[str, Any]:
    record, state = run.record(), run.state
    return {
        "folder": run.folder.name,
        "parameters": run.parameters,
        "state": state,
        "value": run.value() if state == "finished" else None,
        "seconds": record.seconds if record else None,
        "reason": run.reason() if state == "failed" else None,
        "run_command": shlex.join(run_command(sweep, run)),
    }


def _csv_text(sweep: Sweep, runs: Sequence[SweepRun]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*runs[0].parameters, sweep.metric, "seconds", "state", "folder"])
    for run in runs:
        row = _run_row(sweep, run)
        writer.writerow([*run.parameters.values(), row["value"], row["seconds"], row["state"], row["folder"]])
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)
