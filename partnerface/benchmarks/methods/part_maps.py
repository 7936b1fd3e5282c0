"""Part maps: which part of a deformation moves which point of the canonical head, from two sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.deformation.deformation import dense_part_weights
from partnerface.evaluation.pictures import part_map
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh

VIEWS = {"front": 0.0, "side": 90.0}
"""Rotation of the head about the vertical axis in degrees, by view."""

DISTANCE = 50.0
"""Distance of the camera in metres, so large that the projection is nearly orthographic."""

AMBIENT = 0.45
"""Brightness of a surface seen edge on."""


@torch.no_grad()
def canonical_part_maps(avatar: Avatar, size: int = 320) -> np.ndarray:
    """Part weights on the canonical skin, neutral expression, as colours ``[size, 2 size, 3]`` uint8.

    Args:
        avatar: a trained avatar whose deformation has parts.
        size: width and height of a view in pixels.
    """
    neutral = avatar.head_model.neutral_parameters()
    neutral.identity = avatar.identity
    vertices = avatar.head_model(neutral).canonical_vertices
    faces = avatar.skinning.faces
    deformed = avatar.deformation(avatar.cube(vertices), avatar.driving(neutral)[0])
    weights = dense_part_weights(deformed.part_weights, deformed.part_index, avatar.deformation.parts)
    views = [_view(vertices, faces, weights, degrees, size) for degrees in VIEWS.values()]
    image = torch.cat(views, -1).permute(1, 2, 0)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


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
    """Draw a row of views for each avatar.

    Args:
        path: file of the figure.
        avatars: titles and trained avatars.
    """
    figure = Figure(figsize=(5.6, 2.9 * len(avatars)), layout="constrained")
    axes = figure.subplots(len(avatars), 1, squeeze=False)[:, 0]
    for panel, (title, avatar) in zip(axes, avatars, strict=True):
        panel.imshow(canonical_part_maps(avatar))
        panel.set_title(title, size=9)
        panel.axis("off")
    figure.savefig(path, dpi=110)
