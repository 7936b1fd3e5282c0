"""The figure of a sweep: the metric against each parameter, and a heat map where there are two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partnerface.runs.figures import draw_curve, draw_grid, label_numbers
from partnerface.sweeps.sweep_run import Setting, short_names, short_value

MOST_LINES = 8
"""Curves of a panel; more cannot be told apart, and are drawn as points alone."""


def write_sweep_figure(path: Path, settings: Sequence[Setting], metric: str, title: str) -> None:
    """Write a figure with a panel for each parameter; error bars are the standard deviation over seeds.

    Args:
        path: file of the figure.
        settings: at least one, all with the same parameters.
        metric: label of the scores.
        title: of the figure.
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
