"""Figures of results.json: bars for the methods, curves over the values that variants change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partnerface.benchmarks.methods.results import HEAD_LPIPS, HEAD_PSNR, MethodResults, Quantity
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.runs.figures import draw_curve, draw_grid, label_numbers, save_with_legend
from partnerface.runs.results import SeedScores

QUANTITIES = ((HEAD_PSNR, "PSNR inside the head, dB"), (HEAD_LPIPS, "LPIPS of the head"))


def _drawn_quantities(results: MethodResults) -> list[tuple[Quantity, str]]:
    """Quantities that some row has: LPIPS is missing where its weights could not be downloaded."""
    found = [entry for entry in QUANTITIES if any(entry[0].of(row["metrics"]) for row in results.rows)]
    return found or list(QUANTITIES[:1])


def write_bars(path: Path, results: MethodResults) -> None:
    """Draw PSNR and LPIPS of every method by subject, with a row of panels for each split.

    Error bars are the sample standard deviation over seeds, hatched bars were measured on a sample of the
    frames, and black lines are the scores of the nearest training frame.
    """
    splits, quantities = results.splits, _drawn_quantities(results)
    width = max(1.5 + 1.1 * len(results.subjects), 4.0)
    figure = Figure(figsize=(width * len(quantities), 2.6 * len(splits) + 0.6), layout="constrained")
    axes = figure.subplots(len(splits), len(quantities), squeeze=False)
    for split, line in zip(splits, axes, strict=True):
        for (quantity, title), panel in zip(quantities, line, strict=True):
            _draw_bars(panel, results, split, quantity)
            panel.set_title(f"{split.replace('_', ' ')}: {title}", size=9)
    save_with_legend(figure, axes[0, 0], path)


def _draw_bars(panel: Axes, results: MethodResults, split: str, quantity: Quantity) -> None:
    methods, subjects = results.methods, results.subjects
    width = 0.85 / max(len(methods), 1)
    heights = []
    for place, method in enumerate(methods):
        for group, subject in enumerate(subjects):
            score = results.scores(MethodVariant(method), subject, split, quantity, or_sample=True)
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
    draw_grid(panel, "y")


def changed_values(results: MethodResults) -> dict[tuple[str, str], list[float]]:
    """By method and setting: the numbers that variants give it, if at least two, in ascending order."""
    found: dict[tuple[str, str], set[float]] = {}
    for row in results.rows:
        for name, text in row["overrides"].items():
            if (value := _as_number(text)) is not None:
                found.setdefault((row["method"], name), set()).add(value)
    return {key: sorted(values) for key, values in found.items() if len(values) > 1}


def write_curves(path: Path, results: MethodResults, method: str, name: str) -> None:
    """Draw PSNR and LPIPS of a method's variants against one setting, with a curve for each subject.

    Args:
        path: file of the figure.
        results: rows.
        method: name of the method.
        name: name of the setting; together a key of `changed_values`.
    """
    values, quantities = changed_values(results)[method, name], _drawn_quantities(results)
    measured = {row["split"] for row in results.select(method=method) if name in row["overrides"]}
    splits = [split for split in results.splits if split in measured]
    figure = Figure(figsize=(4.4 * len(quantities), 2.9 * len(splits) + 0.5), layout="constrained")
    axes = figure.subplots(len(splits), len(quantities), squeeze=False)
    for split, line in zip(splits, axes, strict=True):
        for (quantity, title), panel in zip(quantities, line, strict=True):
            _draw_curves(panel, results, method, name, split, quantity)
            label_numbers(panel, values)
            panel.set_xlabel(name)
            panel.set_title(f"{split.replace('_', ' ')}: {title}", size=9)
    save_with_legend(figure, axes[0, 0], path)


def _draw_curves(
    panel: Axes, results: MethodResults, method: str, name: str, split: str, quantity: Quantity
) -> None:
    """Join variants that differ in nothing but the setting."""
    curves: dict[str, dict[float, SeedScores]] = {}
    for row in results.select(method=method, split=split):
        value = _as_number(row["overrides"].get(name, ""))
        if value is None:
            continue
        variant = MethodVariant(method, tuple(row["overrides"].items()))
        scores = results.scores(variant, row["subject"], split, quantity, row["protocol"])
        if scores is not None:
            others = [f"{key}={text}" for key, text in row["overrides"].items() if key != name]
            curves.setdefault(" ".join([row["subject"], *others]), {})[value] = scores
    for label, points in curves.items():
        places = sorted(points)
        draw_curve(panel, places, [points[place] for place in places], label)
    draw_grid(panel)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
