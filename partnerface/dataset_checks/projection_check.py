"""Does the head lie on the picture? The posed head model against mattes and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from partnerface.data.completion.labels import labelled_mesh, rasterize_regions
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.data.splits import spread_evenly
from partnerface.dataset_checks.sequence_checks import Finding, Severity, graded
from partnerface.files.images import read_grey, read_labels, read_rgb
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.meshes.rasterizer import rasterize_mesh

SIZE = 256
"""Longer side at which the head is drawn."""
DRAWN_HEAD = (Region.FACE, Region.EYES, Region.HAIR)
DRAWN_FACE = (Region.FACE, Region.EYES)
LABELLED_FACE = (Region.FACE, Region.EYES, Region.MOUTH)
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
        height: of the head in picture heights.
        distance: of the head from the camera in metres.
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
        matte = _reduced(read_grey(sequence.matte_paths[i]), width, height) > 127
        labels = _reduced(read_labels(sequence.label_paths[i], max(Region)), width, height)
        head, face = np.isin(regions, DRAWN_HEAD), np.isin(regions, DRAWN_FACE)
        labelled = np.isin(labels, LABELLED_FACE)
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
    """Draws the regions of posed vertices; a head model without landmarks has one region, the face."""
    if len(head_model.asset.landmark_faces):
        mesh = labelled_mesh(head_model, landmark_geometry(head_model))
        return lambda pixels, depth: rasterize_regions(mesh, pixels, depth, width, height)
    of_head = (head_model.head_weights() > 0.5)[head_model.faces].all(1)
    faces = head_model.faces[of_head]

    def draw(pixels: Tensor, depth: Tensor) -> np.ndarray:
        seen = rasterize_mesh(pixels, depth, faces, width, height, False).mask
        return (seen * int(Region.FACE)).to(torch.uint8).numpy()

    return draw


def _reduced(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The pixels nearest to those of a smaller picture."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))
