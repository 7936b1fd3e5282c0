"""HeadColours: a colour for every place of a head; what a video cannot show takes it from what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from pytorch3d.transforms import euler_angles_to_matrix
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.data.view import View
from partnerface.export.surface_colours import PosedSurface, Progress, SurfaceColours, surface_colours
from partnerface.meshes.normals import SurfacePoints

WATCHED_FROM = ((0.0, 0.0), *((yaw, pitch) for yaw in (-0.6, -0.3, 0.3, 0.6) for pitch in (-0.25, 0.0, 0.25)))
"""Yaw and pitch in radians of directions that a head which talks to a camera is seen from."""

LEAST_COSINE = 0.3
"""Points that are seen at a smaller cosine are trusted in proportion."""

PREFER_FIRST = 0.2
"""Cosine by which another view must show a point better than the first one."""

SPREADING_STEPS = 200
"""A step reaches the next vertex; the back of a head is about 60 edges across."""


class HeadColours:
    """Colours of an avatar's surface, each from the view that shows the place best.

    The back of the head, an eyeball behind its lids, the depth of the mouth: what no view shows from in front
    of the head takes the colours of its surroundings, since the field holds nothing there that was trained.

    Args:
        avatar: trained avatar.
        views: F = 1 each; the first is preferred.
    """

    def __init__(self, avatar: Avatar, views: Sequence[View]) -> None:
        self.avatar = avatar
        self.surfaces = [PosedSurface.of(avatar, view) for view in views]
        faces = avatar.head_model.faces
        used = faces.unique()
        barycentric = torch.zeros(len(used), 3, device=used.device)
        barycentric[:, 0] = 1
        found, trust = self._seen(SurfacePoints(used[:, None].repeat(1, 3), barycentric), iter)
        colours = torch.full_like(avatar.head_model.template_vertices, 0.5)
        trusted = colours.new_zeros(len(colours))
        colours[used], trusted[used] = found.rgb, trust
        self.surroundings = spread_over(colours, trusted, faces)

    def at(self, points: SurfacePoints, progress: Progress = iter) -> SurfaceColours:
        """Colours of Q points, complete."""
        found, trust = self._seen(points, progress)
        rgb = trust[:, None] * found.rgb + (1 - trust[:, None]) * points.of(self.surroundings)
        return replace(found, rgb=rgb.clamp(0, 1))

    def _seen(self, points: SurfacePoints, progress: Progress) -> tuple[SurfaceColours, Tensor]:
        """What rays find, and how far it can be trusted, ``[Q]`` in [0, 1]."""
        shown = torch.stack([exposure(self.avatar, surface, points) for surface in self.surfaces])
        handicap = shown.new_full((len(shown), 1), PREFER_FIRST)
        handicap[0] = 0
        best = (shown - handicap).argmax(0)
        trust = (shown.gather(0, best[None])[0] / LEAST_COSINE).clamp(0, 1)
        zeros = torch.zeros_like(trust)
        found = SurfaceColours(torch.zeros_like(points.barycentric), zeros, zeros.clone())
        for number, surface in enumerate(self.surfaces):
            if (chosen := best == number).any():
                some = SurfacePoints(points.corners[chosen], points.barycentric[chosen])
                for name, values in vars(surface_colours(self.avatar, surface, some, progress)).items():
                    getattr(found, name)[chosen] = values
        # Exactly black is no colour of the field: nothing was evaluated.
        return found, trust * found.opacity * found.rgb.any(1)


def exposure(avatar: Avatar, surface: PosedSurface, points: SurfacePoints) -> Tensor:
    """``[Q]`` how squarely points can be seen from in front of the head, as a cosine; 0 if not at all."""
    normal = surface.at(points)[1]
    best = torch.zeros_like(normal[:, 0])
    for yaw, pitch in WATCHED_FROM:
        turn = euler_angles_to_matrix(normal.new_tensor([yaw, pitch, 0.0]), "YXZ")
        direction = surface.axes @ turn[:, 2]
        seen = surface.clearance(avatar, points, direction).isinf()
        best = torch.where(seen, best.maximum(normal @ direction), best)
    return best


def revealing_views(avatar: Avatar) -> list[View]:
    """The default view, and copies with the lids closed and with the mouth open, as far as in training.

    Between them every place of the surface that a video shows can be seen: lids, teeth, tongue.
    """
    view, names = avatar.default_view(), avatar.head_model.asset.expression_names
    views = [view]
    for actions in (("eyeBlinkLeft", "eyeBlinkRight"), ("jawOpen",)):
        if found := [names.index(action) for action in actions if action in names]:
            expression = view.head.expression.clone()
            expression[:, found] = avatar.view_defaults.expression_high[found]
            views.append(replace(view, head=replace(view.head, expression=expression)))
    return views


def spread_over(values: Tensor, trust: Tensor, faces: Tensor) -> Tensor:
    """Replace values of a mesh's vertices, as far as they are not trusted, by the mean of their neighbours.

    Args:
        values: ``[V, C]``; a part of the mesh none of which is trusted keeps them.
        trust: ``[V]`` in [0, 1].
        faces: ``[Fc, 3]``.
    """
    edges = torch.cat([faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    edges = torch.cat([edges, edges.flip(1)])
    doubt = 1 - trust[:, None]
    # The last column counts: the share of each value that has come from a trusted vertex, 0 or 1.
    known = torch.cat([values, torch.ones_like(doubt)], 1) * trust[:, None]
    spread = torch.where(trust[:, None] > 0, torch.cat([values, torch.ones_like(doubt)], 1), 0.0)
    for _ in range(SPREADING_STEPS):
        around = torch.zeros_like(spread).index_add(0, edges[:, 0], spread.index_select(0, edges[:, 1]))
        spread = known + doubt * around / around[:, -1:].clamp_min(1)
        spread = spread / spread[:, -1:].clamp_min(1e-9) * (spread[:, -1:] > 0)
    return torch.where(spread[:, -1:] > 0, spread[:, :-1], values)
