"""Pictures of a check: the posed head drawn over frames, and the coverage plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from pytorch3d.transforms import matrix_to_euler_angles

from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.data.splits import nearest_distance, spread_evenly
from partnerface.dataset_checks.projection_check import ProjectedHead

COLUMNS, MOST_PICTURES = 4, 12
TINT = {Region.FACE: (0, 200, 0), Region.EYES: (40, 120, 255), Region.HAIR: (255, 170, 0)}
TINT_SHARE = 0.25
BARS = 24
"""Expressions in the plot of ranges."""


def overlay_picture(heads: Sequence[ProjectedHead]) -> np.ndarray:
    """``[H, W, 3]`` uint8: up to twelve frames, face green, eyes blue, scalp orange, with their borders."""
    shown = [heads[k] for k in spread_evenly(range(len(heads)), MOST_PICTURES)]
    height, width = shown[0].image.shape[:2]
    columns = min(COLUMNS, len(shown))
    sheet = np.zeros((math.ceil(len(shown) / columns) * height, columns * width, 3), np.uint8)
    for k, head in enumerate(shown):
        row, column = divmod(k, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = _tinted(head)
    return sheet


def _tinted(head: ProjectedHead) -> np.ndarray:
    canvas = head.image.astype(np.float32)
    for region, colour in TINT.items():
        mask = head.regions == region
        canvas[mask] += TINT_SHARE * (np.array(colour, np.float32) - canvas[mask])
        canvas[mask & _border(mask)] = colour
    picture = Image.fromarray(canvas.round().astype(np.uint8))
    ImageDraw.Draw(picture).text((4, 4), f"frame {head.frame}", fill=(255, 40, 40))
    return np.asarray(picture)


def _border(mask: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour outside the mask."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return ~inside


def write_coverage_figure(path: Path, sequence: TrackedSequence, expression_names: Sequence[str]) -> None:
    """Yaw against pitch, distance of test expressions to training ones, ranges of expressions.

    Args:
        path: the picture to write.
        sequence: the dataset.
        expression_names: names of the coefficients; too few are made up for by numbers.
    """
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    pose, distance, ranges = figure.subplots(1, 3)
    _draw_pose(pose, sequence)
    _draw_distance(distance, sequence)
    _draw_ranges(ranges, sequence, expression_names)
    figure.suptitle(f"{sequence.name[:60]}: {len(sequence)} frames".replace("$", ""))
    figure.savefig(path, dpi=100)


def _draw_pose(panel: Axes, sequence: TrackedSequence) -> None:
    degrees = torch.rad2deg(matrix_to_euler_angles(sequence.head.rotation, "YXZ")).numpy()
    for name, frames in sequence.splits.items():
        if name != "unseen_expression":
            panel.scatter(degrees[frames, 0], degrees[frames, 1], s=8, alpha=0.6, label=name.replace("$", ""))
    panel.set(xlabel="yaw, degrees", ylabel="pitch, degrees", title="head pose")
    panel.legend(fontsize=8)


def _draw_distance(panel: Axes, sequence: TrackedSequence) -> None:
    expression, train = sequence.head.expression, sequence.splits.get("train", [])
    for name, frames in sequence.splits.items():
        if train and frames and name != "train":
            values = np.sort(nearest_distance(expression[frames], expression[train]).numpy())
            panel.plot(values, np.arange(1, len(values) + 1) / len(values), label=name.replace("$", ""))
    panel.set(xlabel="to the nearest training expression", ylabel="share of frames", title="test expressions")
    if panel.lines:
        panel.legend(fontsize=8)


def _draw_ranges(panel: Axes, sequence: TrackedSequence, names: Sequence[str]) -> None:
    train = sequence.head.expression[sequence.splits.get("train", [])]
    if not len(train):
        return
    low, high = train.amin(0), train.amax(0)
    order = torch.argsort(high - low, descending=True)[:BARS].numpy()
    panel.bar(range(len(order)), (high - low)[order], bottom=low[order])
    labels = [names[k] if k < len(names) else str(k) for k in order]
    panel.set_xticks(range(len(order)), labels, fontsize=6, rotation=90)
    panel.set(ylabel="range in training", title="expressions that move most")
