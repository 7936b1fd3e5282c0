"""Does the head lie on the picture? The posed head model against mattes and labels; pictures of both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from pytorch3d.transforms import matrix_to_euler_angles

from partnerface.data.completion.borrowed_landmarks import face_landmarks
from partnerface.data.completion.labels import labelled_mesh, rasterize_regions
from partnerface.data.regions import WHOLE_FACE, Region
from partnerface.data.sequence import TrackedSequence
from partnerface.data.splits import nearest_distance, spread_evenly
from partnerface.dataset_checks.sequence_checks import Finding, Severity, graded
from partnerface.files.images import read_labels, read_matte, read_rgb
from partnerface.head_models.head_model import HeadModel

SIZE = 256
"""Longer side at which the head is drawn."""
DRAWN_HEAD = (Region.FACE, Region.EYES, Region.HAIR)
DRAWN_FACE = (Region.FACE, Region.EYES)
LEAST_IN_MATTE, GOOD_IN_MATTE = 0.6, 0.85
LEAST_OVERLAP, GOOD_OVERLAP = 0.3, 0.6
SMALL_HEAD, LARGE_HEAD = 0.12, 1.5
"""Height of the head in picture heights."""


@dataclass
class ProjectedHead:
    """The head model on one frame.

    Attributes:
        frame: number of the frame.
        image: ``[h, w, 3]`` uint8, reduced.
        regions: ``[h, w]`` regions of the posed mesh; background where there is none.
        in_matte: share of the drawn head that the matte holds; 0 where no head is in the picture.
        overlap: drawn and labelled face, intersection over union.
        height: height of the head in picture heights.
        distance: distance of the head from the camera in metres.
    """

    frame: int
    image: np.ndarray
    regions: np.ndarray
    in_matte: float
    overlap: float
    height: float
    distance: float


def project_heads(sequence: TrackedSequence, head_model: HeadModel, count: int) -> Iterator[ProjectedHead]:
    """The head model posed on frames spread over those that were tracked."""
    tracked = [i for i in range(len(sequence)) if sequence.frame_weights[i] > 0]
    scale = min(SIZE / max(sequence.camera.width, sequence.camera.height), 1.0)
    width, height = (max(2, round(scale * n)) for n in (sequence.camera.width, sequence.camera.height))
    draw = _region_painter(head_model, width, height)
    of_head = head_model.head_weights() > 0.5
    for i in spread_evenly(tracked, count) if tracked else []:
        with torch.no_grad():
            vertices = head_model(sequence.head.select([i])).vertices
        pixels, depth = sequence.camera.select([i]).resized(width, height).project(vertices)
        regions = draw(pixels[0], depth[0])
        matte = _reduced(read_matte(sequence.matte_paths[i]), width, height) > 127
        labels = _reduced(read_labels(sequence.label_paths[i], max(Region)), width, height)
        head, face = np.isin(regions, DRAWN_HEAD), np.isin(regions, DRAWN_FACE)
        labelled = np.isin(labels, WHOLE_FACE)
        rows = pixels[0, of_head, 1]
        yield ProjectedHead(
            frame=i,
            image=_reduced(read_rgb(sequence.image_paths[i]), width, height),
            regions=regions,
            in_matte=float((head & matte).sum() / max(head.sum(), 1)),
            overlap=float((face & labelled).sum() / max((face | labelled).sum(), 1)),
            height=float((rows.max() - rows.min()) / height),
            distance=float(depth[0, of_head].mean()),
        )


def check_projection(heads: list[ProjectedHead]) -> list[Finding]:
    """Whether the head covers the person: medians over the frames looked at."""
    if not heads:
        return [Finding("projection", "unfit", "no tracked frame to look at")]
    names = ("in_matte", "overlap", "height", "distance")
    values = {name: float(np.median([getattr(head, name) for head in heads])) for name in names}
    problems: list[tuple[Severity, str]] = []
    for name, least, good, text in (
        ("in_matte", LEAST_IN_MATTE, GOOD_IN_MATTE, "of the posed head lies on the matte"),
        ("overlap", LEAST_OVERLAP, GOOD_OVERLAP, "of posed and labelled face is common to both"),
    ):
        if values[name] < good:
            severity: Severity = "unfit" if values[name] < least else "doubt"
            problems.append((severity, f"only {values[name]:.0%} {text}; look at the overlay"))
    if not SMALL_HEAD <= values["height"] <= LARGE_HEAD:
        problems.append(("doubt", f"the head is {values['height']:.2f} picture heights tall"))
    fine = f"{values['in_matte']:.0%} of the posed head lies on the matte, at {values['distance']:.2f} m"
    return graded("projection", problems, fine, values)


def _region_painter(head_model: HeadModel, width: int, height: int):
    """Draws the regions of posed vertices."""
    mesh = labelled_mesh(head_model, face_landmarks(head_model))
    return lambda pixels, depth: rasterize_regions(mesh, pixels, depth, width, height)


def _reduced(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The pixels nearest to those of a smaller picture."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))


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
    """Yaw against pitch, distance of test expressions to training ones, ranges of the named expressions.

    Coefficients beyond ``expression_names`` are numbered.
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
