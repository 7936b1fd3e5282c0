"""The report of a benchmark of methods: tables, bars, curves, strips and part maps beside results.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.canonical_map import first_frame
from partnerface.avatar.picture import image_bytes
from partnerface.avatar_files.loading import load_avatar
from partnerface.benchmarks.method_under_test import OURS
from partnerface.benchmarks.methods.figures import changed_values, write_bars, write_curves, write_strips
from partnerface.benchmarks.methods.results import STRICT, MethodResults, Row
from partnerface.benchmarks.methods.results_markdown import results_markdown
from partnerface.benchmarks.methods.run import RUNS_FOLDER
from partnerface.deformation.deformation import dense_part_weights
from partnerface.evaluation.pictures import part_map
from partnerface.files.whole_files import replace_text
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh
from partnerface.runs.run import LAST_CHECKPOINT

MARKDOWN_FILE, BARS_FILE = "results.md", "bars.png"


def write_method_report(out: Path, rows: Sequence[Row], order: Sequence[str]) -> list[Path]:
    """Write tables and figures of one or more rows into the folder of a benchmark, and return the files.

    ``order`` names the methods in the order of tables.
    """
    results = MethodResults(rows, order)
    written = [out / MARKDOWN_FILE]
    replace_text(written[0], results_markdown(results) + "\n")
    if results.methods:
        write_bars(out / BARS_FILE, results)
        written.append(out / BARS_FILE)
    for method, name in changed_values(results):
        path = out / f"curve_{method}_{name.rsplit('.', 1)[-1]}.png"
        write_curves(path, results, method, name)
        written.append(path)
    for subject in results.subjects:
        path = out / f"strips_{subject}.png"
        if write_strips(path, out / RUNS_FOLDER, results, subject):
            written.append(path)
    if avatars := _part_avatars(out, results):
        written.append(out / "parts.png")
        write_part_maps(written[-1], avatars)
    return written


def _part_avatars(out: Path, results: MethodResults) -> list[tuple[str, Avatar]]:
    """Our method on every subject, titled, from the run with the lowest seed."""
    found = []
    for subject in results.subjects:
        rows = results.select(subject=subject, method=OURS, overrides={}, test_parameters=STRICT)
        first = min(rows, key=lambda row: row["seed"], default=None)
        if first is not None and (checkpoint := out / RUNS_FOLDER / first["run"] / LAST_CHECKPOINT).is_file():
            found.append((f"{subject.replace('_', ' ')}, seed {first['seed']}", load_avatar(checkpoint)))
    return found


VIEWS = {"front": 0.0, "side": 90.0}
"""Rotation of the head about the vertical axis in degrees, by view."""

DISTANCE = 50.0
"""Distance of the camera in metres, so large that the projection is nearly orthographic."""

AMBIENT = 0.45
"""Brightness of a surface seen edge on."""


@torch.no_grad()
def canonical_part_maps(avatar: Avatar, size: int = 320) -> np.ndarray:
    """Part weights on the canonical skin of a trained avatar, from two sides, in neutral expression.

    Returns:
        ``[size, 2 size, 3]`` uint8, the colours of the parts.
    """
    neutral = avatar.head_model.neutral_parameters()
    neutral.identity = avatar.identity
    vertices = avatar.head_model(neutral).canonical_vertices
    faces = avatar.skinning.faces
    deformed = avatar.deformation(avatar.cube(vertices), avatar.driving(neutral), first_frame(vertices))
    weights = dense_part_weights(deformed.part_weights, deformed.part_index, avatar.deformation.parts)
    views = [_view(vertices, faces, weights, degrees, size) for degrees in VIEWS.values()]
    return image_bytes(*views)


def _view(vertices: Tensor, faces: Tensor, weights: Tensor, degrees: float, size: int) -> Tensor:
    """One view as colours ``[3, size, size]``, shaded by the angle between surface and viewer."""
    turn = torch.deg2rad(torch.tensor(degrees))
    cosine, sine = torch.cos(turn), torch.sin(turn)
    rotation = torch.tensor([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    seen = vertices @ rotation.T
    used = seen[faces.unique()]
    low, high = used.amin(0), used.amax(0)
    scale = 0.94 * size / (high - low)[:2].max()
    middle = (low + high) / 2
    # Canonical y points up and the face looks along z, towards the viewer.
    pixels = (seen - middle)[:, :2] * torch.stack([scale, -scale]) + size / 2
    fragments = rasterize_mesh(pixels, DISTANCE - seen[:, 2], faces, size, size)
    facing = vertex_normals(seen, faces)[:, 2:].clamp_min(0)
    attributes = fragments.interpolate(torch.cat([weights, facing], 1), faces)
    image = torch.zeros(size, size, attributes.shape[1])
    image[fragments.mask] = attributes
    shade = torch.where(fragments.mask, AMBIENT + (1 - AMBIENT) * image[..., -1], 1.0)
    return part_map(image[..., :-1]) * shade


def write_part_maps(path: Path, avatars: Sequence[tuple[str, Avatar]]) -> None:
    """Draw a row of views for each trained avatar, with its title."""
    figure = Figure(figsize=(5.6, 2.9 * len(avatars)), layout="constrained")
    axes = figure.subplots(len(avatars), 1, squeeze=False)[:, 0]
    for panel, (title, avatar) in zip(axes, avatars, strict=True):
        panel.imshow(canonical_part_maps(avatar))
        panel.set_title(title, size=9)
        panel.axis("off")
    figure.savefig(path, dpi=110)
