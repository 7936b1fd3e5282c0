"""The report of a sweep: `sweep.json`, `sweep.csv`, tables and the figure."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import replace_text
from partnerface.runs.engine import LOCK_FILE
from partnerface.runs.figures import draw_curve, draw_grid, label_numbers
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
    """Write ``sweep.json`` and ``sweep.csv`` of all runs, in any state, into the folder of the sweep.

    ``environment`` holds command, commit and machine; see `partnerface.runs.results.environment`.
    """
    content = {
        "name": sweep.name,
        "question": sweep.question,
        "method": sweep.method,
        "metric": {"name": sweep.metric, "goal": "maximize" if sweep.maximize else "minimize"},
        **_template(sweep),
        **environment,
        "settings": [
            {
                "parameters": setting.parameters,
                "mean": setting.scores.mean,
                "spread": setting.scores.spread or 0.0,
                "values": list(setting.scores.values),
            }
            for setting in _best_first(sweep, runs)
        ],
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
    rows = [
        [
            *(short_value(value) for value in run.parameters.values()),
            f"{run.value():.4g}" if (state := run.state) == "finished" else state,
            short_value(attempts.seconds) if (attempts := run.attempts()) else "",
            run.folder.name,
        ]
        for run in runs
    ]
    titles = [*short_names(list(runs[0].parameters)).values(), sweep.metric, "seconds", "folder"]
    return TextTable(titles, rows, "runs")


def _template(sweep: Sweep) -> dict[str, Any]:
    """The part of a sweep that calls which share a folder must share."""
    return {"command_template": list(sweep.command), "program": sweep.program}


def _best_first(sweep: Sweep, runs: Sequence[SweepRun]) -> list[Setting]:
    return sorted(settings_of(runs), key=lambda setting: setting.scores.mean, reverse=sweep.maximize)


def _run_row(run: SweepRun) -> dict[str, Any]:
    attempts, state = run.attempts(), run.state
    return {
        "folder": run.folder.name,
        "parameters": run.parameters,
        "state": state,
        "value": run.value() if state == "finished" else None,
        "seconds": attempts.seconds if attempts else None,
        "reason": run.failure() if state == "failed" else None,
        "commit": run.environment().get("commit"),
        "run_command": shlex.join(run.command),
    }


MOST_LINES = 8
"""Curves of a panel; more cannot be told apart, and are drawn as points alone."""


def write_sweep_figure(path: Path, settings: Sequence[Setting], metric: str, title: str) -> None:
    """Write a figure with a panel for each parameter; error bars are the standard deviation over seeds.

    Two parameters of a grid have a map, too. ``settings``, at least one, have the same parameters.
    """
    short = short_names(list(settings[0].parameters))
    with_map = len(short) == 2 and _is_grid(settings)
    panels = len(short) + with_map
    figure = Figure(figsize=(max(4.6 * panels, 6.0), 3.8), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for panel, name in zip(axes, short, strict=False):
        _draw_panel(panel, settings, name, short)
        panel.set_xlabel(short[name])
        panel.set_ylabel(metric)
        draw_grid(panel)
    if with_map:
        _draw_map(figure, axes[-1], settings, short, metric)
    figure.suptitle(title, size=10, wrap=True)
    figure.savefig(path, dpi=110)


def options(settings: Sequence[Setting], name: str) -> list[Any]:
    """Distinct values of a parameter: numbers in ascending order, others in that of the settings."""
    found = list({repr(s.parameters[name]): s.parameters[name] for s in settings}.values())
    return sorted(found) if _are_numbers(found) else found


def mean_map(settings: Sequence[Setting], rows: str, columns: str) -> np.ndarray:
    """Mean scores ``[R, C]`` over the values of two parameters; NaN where there is no score."""
    means = {(repr(s.parameters[rows]), repr(s.parameters[columns])): s.scores.mean for s in settings}
    return np.array(
        [
            [means.get((repr(row), repr(column)), np.nan) for column in options(settings, columns)]
            for row in options(settings, rows)
        ]
    )


def _draw_panel(panel: Axes, settings: Sequence[Setting], name: str, short: dict[str, str]) -> None:
    """Draw a curve for each combination of the other parameters, or points alone if those are too many."""
    found = options(settings, name)
    is_number = _are_numbers(found)
    others = [other for other in short if other != name]
    lines: dict[str, list[Setting]] = {}
    for setting in _in_order(settings, [*others, name]):
        label = ", ".join(f"{short[o]} {short_value(setting.parameters[o])}" for o in others)
        lines.setdefault(label, []).append(setting)
    if len(lines) > MOST_LINES or all(len(line) == 1 for line in lines.values()):
        lines = {"": _in_order(settings, [name])}
    # A line through points that differ in something else would show what is not there.
    joined = is_number and not (others and list(lines) == [""])
    places = {repr(value): value if is_number else place for place, value in enumerate(found)}
    for label, line in lines.items():
        x = [places[repr(setting.parameters[name])] for setting in line]
        colour = draw_curve(panel, x, [setting.scores for setting in line], label, joined)
        dots = [(place, value) for place, s in zip(x, line, strict=True) for value in s.scores.values]
        panel.scatter(*zip(*dots, strict=True), s=9, color=colour, alpha=0.5)
    if is_number:
        label_numbers(panel, found)
    else:
        panel.set_xticks(range(len(found)), [short_value(v) for v in found], rotation=20, ha="right", size=8)
        panel.margins(x=0.15)
    if len(lines) > 1:
        panel.legend(fontsize=7)


def _in_order(settings: Sequence[Setting], names: Sequence[str]) -> list[Setting]:
    """Sort by the value of the first parameter, then by that of the second and so on."""
    places = {name: [repr(value) for value in options(settings, name)] for name in names}
    return sorted(settings, key=lambda s: [places[name].index(repr(s.parameters[name])) for name in names])


def _draw_map(
    figure: Figure, panel: Axes, settings: Sequence[Setting], short: dict[str, str], metric: str
) -> None:
    rows, columns = short
    values = mean_map(settings, rows, columns)
    image = panel.imshow(values, origin="lower", aspect="auto", cmap="viridis")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < middle else "black"
            panel.text(column, row, f"{value:.4g}", ha="center", va="center", size=8, color=colour)
    for axis, name in ((panel.xaxis, columns), (panel.yaxis, rows)):
        found = options(settings, name)
        axis.set_ticks(range(len(found)), [short_value(value) for value in found])
        axis.set_label_text(short[name])
    figure.colorbar(image, ax=panel, label=metric)


def _is_grid(settings: Sequence[Setting]) -> bool:
    """Whether two parameters have few enough values for a map with most of its cells filled."""
    cells = np.prod([len(options(settings, name)) for name in settings[0].parameters])
    return len(settings) > 1 and len(settings) * 2 >= cells


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
