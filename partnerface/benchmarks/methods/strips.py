"""The same test frames as every method renders them, side by side, from the strips that the runs left."""

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
"""Pixels of a frame in the figure; larger ones are thinned."""


def write_strips(path: Path, runs: Path, results: MethodResults, subject: str) -> bool:
    """Target, then render and error of each method, for the frames in which all strips agree.

    Args:
        path: of the picture.
        runs: folder of the runs' folders.
        results: rows; the lowest seed of each method is shown.
        subject: whose.

    Returns:
        Whether there was anything to show.
    """
    strips = {row["method"]: strip for row in _shown_rows(results, subject) if (strip := _strip(runs, row))}
    if not strips:
        return False
    targets = next(iter(strips.values()))[0]
    kept = [
        k for k, target in enumerate(targets) if all(_holds(strip[0], target) for strip in strips.values())
    ]
    if not kept:
        return False
    columns = {"target": _stacked([targets[k] for k in kept])}
    for method, (seen, renders, errors) in strips.items():
        places = [_place(seen, targets[k]) for k in kept]
        columns[method] = _stacked([renders[p] for p in places])
        columns[f"{method} error"] = _stacked([errors[p] for p in places])
    _draw(path, columns, subject)
    return True


def _shown_rows(results: MethodResults, subject: str) -> list[Row]:
    rows = results.select(subject=subject, protocol=STRICT, overrides={})
    first = {row["method"]: row for row in sorted(rows, key=lambda row: -row["seed"])}
    return [first[method] for method in results.methods if method in first]


def _strip(runs: Path, row: Row) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]] | None:
    """Targets, renders and errors ``[H, W, 3]`` of a run's strip; None where there is none."""
    path = runs / row["run"] / STRIP_FILE
    if not path.is_file():
        return None
    image, (width, height) = read_rgb(path), row["resolution"]
    frames = [image[y : y + height] for y in range(0, image.shape[0], height)]
    return tuple([frame[:, k * width : (k + 1) * width] for frame in frames] for k in range(3))


def _holds(frames: Sequence[np.ndarray], wanted: np.ndarray) -> bool:
    return any(np.array_equal(frame, wanted) for frame in frames)


def _place(frames: Sequence[np.ndarray], wanted: np.ndarray) -> int:
    return next(place for place, frame in enumerate(frames) if np.array_equal(frame, wanted))


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
