"""Gaussian splats of an avatar's surface: flat Gaussians where rays end, in the PLY layout of 3DGS.

Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering". Colours are of degree 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pytorch3d.transforms import matrix_to_quaternion
from torch import Tensor
from torch.nn import functional

from partnerface.avatar.avatar import Avatar
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.export.head_colours import HeadColours, exposure
from partnerface.export.posed_meshes import write_ply
from partnerface.export.surface_colours import PosedSurface, Progress
from partnerface.meshes.normals import SurfacePoints, spread_points, thin_points

SH_DEGREE_0 = 0.28209479177387814
"""The spherical harmonic of degree 0: colour = 0.5 + SH_DEGREE_0 * f_dc."""

WIDTH = 0.6
"""Standard deviation of a Gaussian in the surface, in distances to its neighbours: they close the surface."""

FLATNESS = 0.2
"""Standard deviation along the normal, relative to that in the surface."""

OPACITY = 0.95

FARTHEST_OUT, FARTHEST_IN = 0.05, 0.015
"""Metres about the mesh in which rays may end; where one ends elsewhere it has slipped past the surface."""


@dataclass
class Splats:
    """Q Gaussians, by their values and not as PLY stores them.

    Attributes:
        centres: ``[Q, 3]`` metres.
        normals: ``[Q, 3]`` unit vectors.
        axes: ``[Q, 3, 3]`` rotation whose columns are the axes.
        deviations: ``[Q, 3]`` standard deviation along each axis in metres.
        rgb: ``[Q, 3]`` in [0, 1].
        opacity: ``[Q]`` in [0, 1].
    """

    centres: Float[Tensor, "Q 3"]
    normals: Float[Tensor, "Q 3"]
    axes: Float[Tensor, "Q 3 3"]
    deviations: Float[Tensor, "Q 3"]
    rgb: Float[Tensor, "Q 3"]
    opacity: Float[Tensor, " Q"]


def head_splats(avatar: Avatar, view: View, count: int, progress: Progress = iter) -> Splats:
    """At most ``count`` splats of the avatar's head and neck in a view (F = 1), in world space.

    Points are spread evenly over the mesh and moved along its normals to where rays end, on skin or in hair.
    """
    surface = PosedSurface.of(avatar, view)
    points, spacing = evenly_spread_points(surface.vertices, avatar.head_model.faces[avatar.surface], count)
    # Splats of an eyeball would shine through the lids: what lies inside the head is left out.
    outside = (exposure(avatar, surface, points) > 0) | surface.clearance(avatar, points).isinf()
    points = SurfacePoints(points.corners[outside], points.barycentric[outside])
    place, normals = surface.at(points)
    found = HeadColours(avatar, [view]).at(points, progress)
    kept = (found.opacity > 0.5) & (found.offset < FARTHEST_OUT) & (found.offset > -FARTHEST_IN)
    if not kept.any():
        raise UserError("export: the avatar's head is transparent everywhere; train it for longer")
    offset, normals = found.offset[kept], normals[kept]
    # A convex surface grows as it moves out.
    size = spacing * (1 + offset.clamp_min(0) / 0.09)
    deviations = WIDTH * torch.stack([size, size, FLATNESS * size], 1)
    centres = place[kept] + offset[:, None] * normals
    opacity = torch.full_like(offset, OPACITY)
    return Splats(centres, normals, axes_along(normals), deviations, found.rgb[kept], opacity)


def evenly_spread_points(vertices: Tensor, faces: Tensor, count: int) -> tuple[SurfacePoints, float]:
    """At most ``count`` points on a mesh, nearly that many, and the distance between them in metres."""
    corners = vertices[faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = torch.linalg.cross(first, second).norm(dim=1).sum() / 2
    spacing = float((area / count).sqrt())
    while True:
        points = thin_points(spread_points(vertices, faces, spacing / 2), vertices, spacing)
        if len(points.corners) <= count:
            return points, spacing
        spacing *= 1.02 * (len(points.corners) / count) ** 0.5


def axes_along(normals: Tensor) -> Tensor:
    """``[Q, 3, 3]`` rotations whose third column is the normal ``[Q, 3]``."""
    aside = functional.one_hot(normals.abs().argmin(1), 3).to(normals)
    first = functional.normalize(torch.linalg.cross(normals, aside), dim=1)
    return torch.stack([first, torch.linalg.cross(normals, first), normals], 2)


def write_splats(path: Path, splats: Splats) -> None:
    """Write splats as 3DGS programs read them: logarithms of scales, logits of opacities, w first.

    Raises:
        NotWritten: the file cannot be written.
    """
    values = {
        "x y z": splats.centres,
        "nx ny nz": splats.normals,
        "f_dc_0 f_dc_1 f_dc_2": (splats.rgb - 0.5) / SH_DEGREE_0,
        "opacity": splats.opacity.logit()[:, None],
        "scale_0 scale_1 scale_2": splats.deviations.log(),
        "rot_0 rot_1 rot_2 rot_3": matrix_to_quaternion(splats.axes),
    }
    columns: dict[str, np.ndarray] = {}
    for names, rows in values.items():
        columns |= zip(names.split(), rows.detach().cpu().float().numpy().T, strict=True)
    write_ply(path, columns)
