"""Test frames as every method renders them, side by side, from the strips that the runs have written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from partnerface.benchmarks.methods.results import STRICT, MethodResults
from partnerface.benchmarks.methods.results_file import Row
from partnerface.files.images import read_rgb

STRIP_FILE = "strip.png"
LARGEST_SIDE = 160
"""Largest side of a frame in the figure in pixels; larger frames are subsampled."""


def write_strips(path: Path, runs: Path, results: MethodResults, subject: str) -> bool:
    """Draw the target and each method's render and error, for the frames that all strips have.

    Args:
        path: file of the figure.
        runs: the folder that holds the runs' folders.
        results: rows; the lowest seed of each method is shown.
        subject: name of the person.

    Returns:
        Whether a figure was written: not if no frame is in all strips.
    """
    # Of each method the row with the lowest seed.
    rows = sorted(
        results.select(subject=subject, protocol=STRICT, overrides={}), key=lambda row: -row["seed"]
    )
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
