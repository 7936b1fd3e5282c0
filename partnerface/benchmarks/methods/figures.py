"""Figures of results.json: bars for the methods, curves over the values that variants change, strips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partnerface.benchmarks.methods.compared import MethodVariant
from partnerface.benchmarks.methods.method_results import (
    FINE_COUNTS,
    FINE_PSNR,
    HEAD_LPIPS,
    HEAD_PSNR,
    MM_FINE_FACE,
    STRICT,
    MethodResults,
    Quantity,
)
from partnerface.benchmarks.methods.results import Row
from partnerface.data.splits import SAMPLE_SUFFIX
from partnerface.files.images import read_rgb
from partnerface.runs.figures import draw_curve, draw_grid, label_numbers, save_with_legend
from partnerface.runs.results import SeedScores

QUANTITIES = (
    (HEAD_PSNR, "PSNR inside the head, dB"),
    (HEAD_LPIPS, "LPIPS of the head"),
    (MM_FINE_FACE, "true motion left, mm"),
    (FINE_PSNR, "PSNR of fine motion, dB"),
)
WITHOUT_METHOD = {
    MM_FINE_FACE: (Quantity("mm_nothing", "fine_face"), "no deformation"),
    FINE_PSNR: (Quantity("fine_motion", "ceiling_psnr"), "perfect but for the motion"),
}
"""What a quantity is compared with that depends on no method, and its name."""


def _write_panels(
    path: Path,
    results: MethodResults,
    splits: Sequence[str],
    size: tuple[float, float],
    draw: Callable[[Axes, str, Quantity], None],
) -> None:
    """Write a figure with a row of panels for each split, a panel for each quantity that some row has."""
    found = [entry for entry in QUANTITIES if any(entry[0].of_row(row) for row in results.rows)]
    # LPIPS is missing where its weights could not be downloaded.
    quantities = found or QUANTITIES[:1]
    width, height = size[0] * len(quantities), size[1] * len(splits) + 0.6
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(splits), len(quantities), squeeze=False)
    for split, line in zip(splits, axes, strict=True):
        for (quantity, title), panel in zip(quantities, line, strict=True):
            draw(panel, split, quantity)
            panel.set_title(f"{split.replace('_', ' ')}: {title}", size=9)
    save_with_legend(figure, axes[0, 0], path)


def write_bars(path: Path, results: MethodResults) -> None:
    """Draw PSNR and LPIPS of every method by subject, with a row of panels for each split.

    Where the true motion is known, also the millimetres of it that are left and the PSNR where it shows.
    Error bars are the sample standard deviation over seeds, hatched bars were measured on a sample of the
    frames, pale ones do not count, for they measure texture, black lines are the scores of the nearest
    training frame, dotted ones those of no deformation.
    """
    size = max(1.5 + 1.1 * len(results.subjects), 4.0), 2.6
    _write_panels(path, results, results.splits, size, partial(_draw_bars, results))


def _draw_bars(results: MethodResults, panel: Axes, split: str, quantity: Quantity) -> None:
    methods, subjects = results.methods, results.subjects
    width = 0.85 / max(len(methods), 1)
    heights = []
    for place, method in enumerate(methods):
        for group, subject in enumerate(subjects):
            score = results.scores(MethodVariant(method), subject, split, quantity, or_sample=True)
            x = group - 0.425 + (place + 0.5) * width
            counts = results.scores(MethodVariant(method), subject, split, FINE_COUNTS, or_sample=True)
            pale = quantity == FINE_PSNR and not (counts and all(counts.values))
            # An empty bar keeps the method in the legend.
            panel.bar(
                x,
                score.mean if score else np.nan,
                width,
                yerr=score.spread if score else None,
                color=f"C{place}",
                alpha=0.35 if pale else None,
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
        reference, name = WITHOUT_METHOD.get(quantity, (None, ""))
        if reference is not None and (level := results.mean_of(subject, split, reference)) is not None:
            panel.hlines(level, group - 0.45, group + 0.45, color="black", ls=":", lw=1.2, label=name)
            heights.append(level)
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

    ``method, name`` is a key of `changed_values`.
    """
    varied = [row for row in results.select(method=method) if name in row["overrides"]]
    measured = {row["split"].removesuffix(SAMPLE_SUFFIX) for row in varied}
    splits = [split for split in results.splits if split in measured]
    _write_panels(path, results, splits, (4.4, 2.9), partial(_draw_curves, results, method, name))


def _draw_curves(
    results: MethodResults, method: str, name: str, panel: Axes, split: str, quantity: Quantity
) -> None:
    """Join variants that differ in nothing but the setting."""
    curves: dict[str, dict[float, SeedScores]] = {}
    for row in results.select(method=method):
        value = _as_number(row["overrides"].get(name, ""))
        if value is None or row["split"].removesuffix(SAMPLE_SUFFIX) != split:
            continue
        variant = MethodVariant(method, tuple(row["overrides"].items()))
        scores = results.scores(variant, row["subject"], row["split"], quantity, row["test_parameters"])
        if scores is not None:
            others = [f"{key}={text}" for key, text in row["overrides"].items() if key != name]
            curves.setdefault(" ".join([row["subject"], *others]), {})[value] = scores
    for label, points in curves.items():
        places = sorted(points)
        draw_curve(panel, places, [points[place] for place in places], label)
    label_numbers(panel, changed_values(results)[method, name])
    panel.set_xlabel(name)
    draw_grid(panel)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


STRIP_FILE = "strip.png"
LARGEST_SIDE = 160
"""Largest side of a frame in the figure in pixels; larger frames are subsampled."""


def write_strips(path: Path, runs: Path, results: MethodResults, subject: str) -> bool:
    """Draw the target and each method's render and error, of its lowest seed, for frames in all strips.

    ``runs`` holds the runs' folders. Returns whether a figure was written: not if no frame is in all strips.
    """
    rows = results.select(subject=subject, test_parameters=STRICT, overrides={})
    # One row for each method, that with the lowest seed.
    lowest = {row["method"]: row for row in sorted(rows, key=lambda row: -row["seed"])}
    strips = {method: _strip(runs, lowest[method]) for method in results.methods if method in lowest}
    strips = {method: strip for method, strip in strips.items() if strip}
    first = next(iter(strips.values()), {})
    shared = [key for key in first if all(key in strip for strip in strips.values())]
    if not shared:
        return False
    columns = {"target": _stacked([first[key][0] for key in shared])}
    for method, strip in strips.items():
        columns[method] = _stacked([strip[key][1] for key in shared])
        columns[f"{method} error"] = _stacked([strip[key][2] for key in shared])
    _draw(path, columns, subject)
    return True


def _strip(runs: Path, row: Row) -> dict[bytes, list[np.ndarray]]:
    """Target, render and error ``[H, W, 3]`` of each frame of a run's strip, by the target's pixels."""
    path = runs / row["run"] / STRIP_FILE
    if not path.is_file():
        return {}
    image, (width, height) = read_rgb(path), row["resolution"]
    frames = (image[y : y + height] for y in range(0, image.shape[0], height))
    pieces = ([frame[:, k * width : (k + 1) * width] for k in range(3)] for frame in frames)
    return {frame[0].tobytes(): frame for frame in pieces}


def _stacked(frames: Sequence[np.ndarray]) -> np.ndarray:
    step = -(-max(frames[0].shape[:2]) // LARGEST_SIDE)
    return np.concatenate([frame[::step, ::step] for frame in frames])


def _draw(path: Path, columns: dict[str, np.ndarray], title: str) -> None:
    height, width = next(iter(columns.values())).shape[:2]
    inches = 1.25
    headings = [name.replace("_", "\n") for name in columns]
    above = 0.15 + 0.12 * max(heading.count("\n") + 1 for heading in headings)
    size = (inches * len(columns), inches * height / width + above)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for panel, heading, image in zip(axes, headings, columns.values(), strict=True):
        panel.imshow(image)
        panel.set_title(heading, size=7)
        panel.axis("off")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    # Over the short title of the first column, clear of the long ones.
    figure.suptitle(title.replace("_", " "), size=9, x=0.003, ha="left")
    figure.savefig(path, dpi=130)
