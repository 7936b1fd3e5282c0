"""The colours that an avatar's radiance field has at its surface: a short ray inwards from each point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partnerface.avatar.avatar import Avatar
from partnerface.cameras.pinhole import RayBundle
from partnerface.compute.chunks import cpu_threads, in_smaller_chunks, map_chunks
from partnerface.data.view import View
from partnerface.meshes.bvh import cast_rays
from partnerface.meshes.normals import SurfacePoints, vertex_normals

MARGIN = 0.002
"""Metres outside the shell at which rays start."""

TRAINED_CONE = 0.35
"""Radians about the head's own front: colours are evaluated for directions in this cone, as a video shows
the head from the front. From beyond, the field's answer is invention: purple temples."""

SKIN = 5e-4
"""Metres before the surface at which rays of sight start, so that they do not meet it."""

ABOVE_IMAGE = -10.0
"""An image coordinate at which the torso layer has faded out."""

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass
class SurfaceColours:
    """What rays find that go straight into the surface at Q points.

    Attributes:
        rgb: ``[Q, 3]`` colour in [0, 1], not premultiplied.
        opacity: ``[Q]`` of the head along the ray.
        offset: ``[Q]`` metres from the mesh out to where the ray ends: hair stands out, skin does not.
    """

    rgb: Float[Tensor, "Q 3"]
    opacity: Float[Tensor, " Q"]
    offset: Float[Tensor, " Q"]


@dataclass
class PosedSurface:
    """The surface of an avatar in one view (F = 1).

    Attributes:
        view: the pose.
        vertices: ``[V, 3]`` world space, metres.
        normals: ``[V, 3]`` of the head without torso and lashes, zero elsewhere.
        axes: ``[3, 3]`` head to world: x to its left, y up, z where it looks.
    """

    view: View
    vertices: Float[Tensor, "V 3"]
    normals: Float[Tensor, "V 3"]
    axes: Float[Tensor, "3 3"]

    @classmethod
    def of(cls, avatar: Avatar, view: View) -> PosedSurface:
        """Pose the avatar's surface."""
        posed, faces = avatar.head_model(view.head), avatar.head_model.faces
        # Lashes get normals of their own, where the surface has none.
        normals, every = (vertex_normals(posed.vertices[0], some) for some in (faces[avatar.surface], faces))
        normals = torch.where(normals.any(1, keepdim=True), normals, every)
        return cls(view, posed.vertices[0], normals, posed.head_rotation[0])

    def at(self, points: SurfacePoints) -> tuple[Tensor, Tensor]:
        """Places and unit normals ``[Q, 3]`` of points."""
        return points.of(self.vertices), functional.normalize(points.of(self.normals), dim=1)

    def clearance(self, avatar: Avatar, points: SurfacePoints, direction: Tensor | None = None) -> Tensor:
        """``[Q]`` metres of free space before points, up to the next face of the head, infinite if none.

        Along their normals, or along one direction ``[3]`` for all.
        """
        place, normal = self.at(points)
        towards = normal if direction is None else direction.expand_as(normal)
        faces = avatar.head_model.faces[avatar.surface]
        free = cast_rays(self.vertices, faces, place + SKIN * normal, towards)
        return torch.where(free < 0, torch.inf, free)


@torch.no_grad()
def surface_colours(
    avatar: Avatar, surface: PosedSurface, points: SurfacePoints, progress: Progress = iter
) -> SurfaceColours:
    """Colours of points of an avatar's posed surface.

    A ray starts outside the shell, or halfway to what lies before the point (a lip before a tooth), and goes
    in along the normal. Each point costs as much as a pixel of a picture.

    Args:
        avatar: trained avatar.
        surface: its surface as posed.
        points: Q points on the head model's faces.
        progress: wraps the pieces of the work, for a progress bar.
    """
    frames = avatar.pose_frames(surface.view)
    device = surface.vertices.device

    def shade(piece: SurfacePoints) -> SurfaceColours:
        place, normal = surface.at(piece)
        reach = piece.of(avatar.thickness[:, None])[:, 0] + MARGIN
        reach = torch.minimum(reach, 0.5 * surface.clearance(avatar, piece))
        inwards = -normal[None]
        uv = place.new_full((1, len(place), 2), ABOVE_IMAGE)
        sampled = avatar.sample(RayBundle((place + reach[:, None] * normal)[None], inwards, uv), frames)
        points_on_rays, seen = sampled.points, within_cone(inwards, -surface.axes[:, 2], TRAINED_CONE)
        # The samples stay where they are, only their colour is that of another direction.
        sampled = replace(sampled, rays=replace(sampled.rays, directions=seen))
        sampled.points = points_on_rays
        rays = avatar.shade(sampled, frames).rays
        opacity = rays.head_opacity[0]
        visible = opacity.clamp_min(1e-3)
        return SurfaceColours(rays.rgb[0] / visible[:, None], opacity, reach - rays.depth[0] / visible)

    def in_chunks(chunk: int) -> list[SurfaceColours]:
        pieces = [
            SurfacePoints(*some)
            for some in zip(points.corners.split(chunk), points.barycentric.split(chunk), strict=True)
        ]
        threads = cpu_threads(device)
        groups = [pieces[k : k + threads] for k in range(0, len(pieces), threads)]
        return [found for group in progress(groups) for found in map_chunks(shade, group, threads)]

    found = in_smaller_chunks(in_chunks, avatar.rays_at_once(device, exact=True))
    return SurfaceColours(*(torch.cat([getattr(f, k) for f in found]) for k in ("rgb", "opacity", "offset")))


def within_cone(directions: Tensor, axis: Tensor, angle: float) -> Tensor:
    """Unit vectors ``[..., 3]`` turned towards an axis ``[3]`` until they lie within ``angle`` radians of it.

    The direction opposite to the axis is turned anywhere onto the cone's rim.
    """
    cosine = (directions * axis).sum(-1, keepdim=True)
    across = directions - cosine * axis
    aside = torch.roll(axis, 1) - (torch.roll(axis, 1) * axis).sum() * axis
    across = torch.where(across.norm(dim=-1, keepdim=True) > 1e-6, across, aside)
    rim = torch.cos(axis.new_tensor(angle)) * axis + torch.sin(axis.new_tensor(angle)) * functional.normalize(
        across, dim=-1
    )
    return torch.where(cosine >= torch.cos(axis.new_tensor(angle)), directions, rim)
