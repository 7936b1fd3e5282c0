"""The report of a sweep: `sweep.json`, `sweep.csv` and tables."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from partnerface.errors import UserError
from partnerface.files.json_values import read_json_table
from partnerface.files.whole_files import replace_text
from partnerface.runs.engine import LOCK_FILE
from partnerface.runs.results import TextTable
from partnerface.sweeps.sweep_file import Sweep
from partnerface.sweeps.sweep_run import Setting, SweepRun, settings_of, short_names, short_value

JSON_FILE, CSV_FILE, FIGURE_FILE = "sweep.json", "sweep.csv", "sweep.png"


def check_folder(out: Path, sweep: Sweep) -> None:
    """Make sure that a folder is empty or holds runs of the same command.

    Raises:
        UserError: it holds something else.
    """
    path = out / JSON_FILE
    if not path.is_file():
        if out.is_dir() and any(entry.name != LOCK_FILE for entry in out.iterdir()):
            raise UserError(f"--out {out}: holds other files; choose another folder")
        return
    recorded = read_json_table(path, "remove the folder or choose another --out")
    if any(recorded.get(key) != value for key, value in _template(sweep).items()):
        raise UserError(f"--out {out}: holds runs of another command; choose another folder")


def write_report(out: Path, sweep: Sweep, runs: Sequence[SweepRun], environment: Mapping[str, Any]) -> None:
    """Write ``sweep.json`` and ``sweep.csv``.

    Args:
        out: folder of the sweep.
        sweep: the question.
        runs: all of its runs, in any state.
        environment: command, commit and machine; see `partnerface.runs.environment.environment`.
    """
    content = {
        "name": sweep.name,
        "question": sweep.question,
        "method": sweep.method,
        "metric": {"name": sweep.metric, "goal": "maximize" if sweep.maximize else "minimize"},
        **_template(sweep),
        **environment,
        "settings": [_setting_row(setting) for setting in _best_first(sweep, runs)],
        "runs": [_run_row(run) for run in runs],
    }
    replace_text(out / JSON_FILE, json.dumps(content, indent=1, default=str) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*runs[0].parameters, sweep.metric, "seconds", "state", "folder"])
    for row in content["runs"]:
        writer.writerow(
            [*row["parameters"].values(), *(row[k] for k in ("value", "seconds", "state", "folder"))]
        )
    replace_text(out / CSV_FILE, text.getvalue())


def settings_table(sweep: Sweep, runs: Sequence[SweepRun]) -> TextTable:
    """Every setting with the mean and the spread over its seeds, best first."""
    settings = _best_first(sweep, runs)
    rows = [
        [
            *(short_value(value) for value in setting.parameters.values()),
            f"{setting.scores.mean:.4g}",
            f"{setting.scores.spread or 0.0:.2g}",
            str(len(setting.scores.values)),
        ]
        for setting in settings
    ]
    titles = [*short_names(list(settings[0].parameters)).values(), sweep.metric, "spread", "runs"]
    return TextTable(titles, rows, sweep.question or sweep.name)


def runs_table(sweep: Sweep, runs: Sequence[SweepRun]) -> TextTable:
    """Every run: parameters, metric or state, seconds and folder."""
    rows = []
    for run in runs:
        attempts, state = run.attempts(), run.state
        rows.append(
            [
                *(short_value(value) for value in run.parameters.values()),
                f"{run.value():.4g}" if state == "finished" else state,
                short_value(attempts.seconds) if attempts else "",
                run.folder.name,
            ]
        )
    return TextTable(
        [*short_names(list(runs[0].parameters)).values(), sweep.metric, "seconds", "folder"], rows, "runs"
    )


def _template(sweep: Sweep) -> dict[str, Any]:
    """The part of a sweep that calls which share a folder must share."""
    return {"command_template": list(sweep.command), "program": sweep.program}


def _best_first(sweep: Sweep, runs: Sequence[SweepRun]) -> list[Setting]:
    return sorted(settings_of(runs), key=lambda setting: setting.scores.mean, reverse=sweep.maximize)


def _setting_row(setting: Setting) -> dict[str, Any]:
    scores = setting.scores
    values = {"mean": scores.mean, "spread": scores.spread or 0.0, "values": list(scores.values)}
    return {"parameters": setting.parameters, **values}


def _run_row(run: SweepRun) -> dict[str, Any]:
    attempts, state = run.attempts(), run.state
    return {
        "folder": run.folder.name,
        "parameters": run.parameters,
        "state": state,
        "value": run.value() if state == "finished" else None,
        "seconds": attempts.seconds if attempts else None,
        "reason": run.failure() if state == "failed" else None,
        "run_command": shlex.join(run.command),
    }
