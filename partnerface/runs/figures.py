"""Figures of results: curves with error bars over the values of a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partnerface.runs.results import SeedScores

LOGARITHMIC_FROM = 8.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
MOST_TICKS = 12
"""Values up to which each has a tick of its own."""


def draw_curve(
    panel: Axes, x: Sequence[float], scores: Sequence[SeedScores], label: str | None, joined: bool = True
) -> str:
    """Draw means over seeds, with their sample standard deviations as error bars, and return the colour.

    ``x`` has the place of each of the ``scores``; ``label`` is for the legend, ``joined`` connects the means.
    """
    means = [score.mean for score in scores]
    has_seeds = any(len(score.values) > 1 for score in scores)
    spreads = [score.spread or 0.0 for score in scores] if has_seeds else None
    drawn = panel.errorbar(
        x, means, spreads, fmt="o-" if joined else "o", capsize=3, ms=4, label=label or None
    )
    return drawn.lines[0].get_color()


def draw_grid(panel: Axes, axis: str = "both") -> None:
    """Light lines behind the data."""
    panel.grid(True, axis=axis, color="0.92")
    panel.set_axisbelow(True)


def label_numbers(panel: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic if the ascending values suggest it, with a tick at each if they are few."""
    if values[0] > 0 and values[-1] / values[0] >= LOGARITHMIC_FROM:
        panel.set_xscale("log")
    if len(values) <= MOST_TICKS:
        panel.set_xticks(values, [f"{value:g}" for value in values])
        panel.minorticks_off()


def save_with_legend(figure: Figure, panel: Axes, path: Path) -> None:
    """Write a figure with the legend of one panel below all of them, each label once."""
    handles, labels = panel.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)
