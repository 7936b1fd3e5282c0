"""Figures of results.json: bars for the methods, curves over the values that variants change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partnerface.benchmarks.methods.results import (
    HEAD_LPIPS,
    HEAD_PSNR,
    MethodResults,
    Quantity,
    value_of,
)

QUANTITIES = ((HEAD_PSNR, "PSNR inside the head, dB"), (HEAD_LPIPS, "LPIPS of the head"))
LOGARITHMIC_FROM = 8.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def _drawn_quantities(results: MethodResults) -> list[tuple[Quantity, str]]:
    """Without LPIPS where its weights could not be had."""
    found = [entry for entry in QUANTITIES if any(value_of(row["metrics"], entry[0]) for row in results.rows)]
    return found or list(QUANTITIES[:1])


def write_bars(path: Path, results: MethodResults) -> None:
    """PSNR and LPIPS of every method, by subject, a line of panels for each split.

    Whiskers are the standard deviation over seeds, hatched bars were measured on a sample of the
    frames, black lines are the nearest training frame.
    """
    splits, quantities = results.splits, _drawn_quantities(results)
    width = max(1.5 + 1.1 * len(results.subjects), 4.0)
    figure = Figure(figsize=(width * len(quantities), 2.6 * len(splits) + 0.6), layout="constrained")
    axes = figure.subplots(len(splits), len(quantities), squeeze=False)
    for split, line in zip(splits, axes, strict=True):
        for (quantity, title), panel in zip(quantities, line, strict=True):
            _draw_bars(panel, results, split, quantity)
            panel.set_title(f"{split.replace('_', ' ')}: {title}", size=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


def _draw_bars(panel: Axes, results: MethodResults, split: str, quantity: Quantity) -> None:
    methods, subjects = results.methods, results.subjects
    width = 0.85 / max(len(methods), 1)
    heights = []
    for place, method in enumerate(methods):
        for group, subject in enumerate(subjects):
            score = results.score_or_sample(method, subject, split, quantity)
            x = group - 0.425 + (place + 0.5) * width
            # An empty bar keeps the method in the legend.
            panel.bar(
                x,
                score.mean if score else np.nan,
                width,
                yerr=score.spread if score else None,
                color=f"C{place}",
                hatch="///" if score and score.sampled else None,
                edgecolor="white",
                capsize=2,
                label=method,
            )
            heights += [score.mean] if score else []
    for group, subject in enumerate(subjects):
        if (nearest := results.nearest_frame(subject, split, quantity)) is not None:
            panel.hlines(nearest, group - 0.45, group + 0.45, color="black", lw=1.2, label="nearest frame")
            heights.append(nearest)
    if heights and quantity.metric == "psnr":
        panel.set_ylim(bottom=max(min(heights) - 2, 0))
    panel.set_xticks(range(len(subjects)), subjects, size=8)
    panel.set_xlim(-0.6, len(subjects) - 0.4)
    panel.grid(True, axis="y", color="0.92")
    panel.set_axisbelow(True)


def changed_values(results: MethodResults) -> dict[tuple[str, str], list[float]]:
    """Values of each method's number that variants change, at least two, in ascending order."""
    found: dict[tuple[str, str], set[float]] = {}
    for row in results.rows:
        for name, text in row["overrides"].items():
            if (value := _as_number(text)) is not None:
                found.setdefault((row["method"], name), set()).add(value)
    return {key: sorted(values) for key, values in found.items() if len(values) > 1}


def write_curves(path: Path, results: MethodResults, method: str, name: str) -> None:
    """PSNR and LPIPS of variants against one of their values, a line for each subject.

    Args:
        path: of the picture.
        results: rows.
        method: the method.
        name: of the value, a key of `changed_values`.
    """
    values, quantities = changed_values(results)[method, name], _drawn_quantities(results)
    of_variants = {
        row["split"] for row in results.rows if row["method"] == method and name in row["overrides"]
    }
    splits = [split for split in results.splits if split in of_variants]
    figure = Figure(figsize=(4.4 * len(quantities), 2.9 * len(splits) + 0.5), layout="constrained")
    axes = figure.subplots(len(splits), len(quantities), squeeze=False)
    for split, line in zip(splits, axes, strict=True):
        for (quantity, title), panel in zip(quantities, line, strict=True):
            _draw_curves(panel, results, method, name, split, quantity)
            _label_axis(panel, values, name)
            panel.set_title(f"{split.replace('_', ' ')}: {title}", size=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


def _draw_curves(
    panel: Axes, results: MethodResults, method: str, name: str, split: str, quantity: Quantity
) -> None:
    """A line joins variants that differ in nothing but the value."""
    lines: dict[str, dict[float, tuple[float, float]]] = {}
    for row in results.select(method=method, split=split):
        others = {key: text for key, text in row["overrides"].items() if key != name}
        value = _as_number(row["overrides"].get(name, ""))
        if value is None:
            continue
        score = results.score(method, row["subject"], split, quantity, row["protocol"], row["overrides"])
        if score is not None:
            settings = [f"{key}={text}" for key, text in others.items()]
            label = " ".join([row["subject"], *settings])
            lines.setdefault(label, {})[value] = (score.mean, score.spread or 0.0)
    for label, points in lines.items():
        x = sorted(points)
        means, spreads = zip(*(points[value] for value in x), strict=True)
        panel.errorbar(x, means, spreads, fmt="o-", capsize=3, ms=4, label=label)
    panel.grid(True, color="0.92")
    panel.set_axisbelow(True)


def _label_axis(panel: Axes, values: Sequence[float], name: str) -> None:
    if values[0] > 0 and values[-1] / values[0] >= LOGARITHMIC_FROM:
        panel.set_xscale("log")
    panel.set_xticks(values, [f"{value:g}" for value in values])
    panel.minorticks_off()
    panel.set_xlabel(name)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
