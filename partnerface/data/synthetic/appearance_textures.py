"""Appearance baked once into one UV texture per part of the head model.

Evaluated per pixel, the noise would cost ten times the rest of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.data.synthetic.albedo import eye_albedo, flat_albedo, skin_albedo, teeth_albedo
from partnerface.data.synthetic.dressed_head import hair_coverage, shirt_coverage
from partnerface.data.synthetic.face_coordinates import (
    face_coordinates,
    lip_outline,
    signed_distance,
    smooth_step,
    value_noise,
)
from partnerface.data.synthetic.subject import SyntheticSubject
from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.rasterizer import rasterize_mesh

CHANNELS = {
    "albedo": slice(0, 3),
    "bump": slice(3, 6),
    "wrinkle_phase": slice(6, 7),
    "lips": slice(7, 8),
    "hair": slice(8, 9),
    "shirt": slice(9, 10),
    "eye_region": slice(10, 11),
    "mouth_region": slice(11, 12),
}
"""What the textures hold: albedo, tilt of the normal, bend of the wrinkles, and coverages in [0, 1]."""

SEAM_TEXELS = 4
SMALL_PART_SCALE = 4
EYE_RADII = (0.024, 0.014)
MOUTH_MARGIN = 0.003
NOSTRILS = -0.056


@dataclass
class PartTexture:
    """``values`` ``[1, C, N, N]`` over the part's box ``low`` to ``high`` in uv."""

    values: Tensor
    low: Tensor
    high: Tensor


class AppearanceTextures:
    """A subject's appearance by uv."""

    def __init__(self, head_model: HeadModel, subject: SyntheticSubject, resolution: int) -> None:
        """Bake.

        Args:
            head_model: supplies the parts and uv.
            subject: supplies the colours.
            resolution: texels along a side for the skin; the small parts have their own boxes in uv
                and take a quarter.
        """
        self._head_model = head_model
        self._subject = subject
        self._uv = torch.tensor(head_model.asset.uv).float()
        self._uv_faces = torch.tensor(head_model.asset.uv_faces.astype("int64"))
        self._points = face_coordinates(head_model)
        self._outline = lip_outline(head_model)
        names = head_model.asset.part_names
        self._textures = {
            part: self._bake(part, name, resolution)
            for part, name in enumerate(names)
            if (head_model.face_parts == part).any()
        }

    def sample(self, faces: Tensor, barycentric: Tensor) -> dict[str, Tensor]:
        """Channels by name, ``[N, c]`` each, at places on the head model's faces ``[N]``, ``[N, 3]``."""
        uv = (self._uv[self._uv_faces[faces]] * barycentric[..., None]).sum(1)
        parts = self._head_model.face_parts[faces]
        values = torch.zeros(len(faces), CHANNELS["mouth_region"].stop)
        for part, texture in self._textures.items():
            here = (parts == part).nonzero()[:, 0]
            if len(here):
                grid = (uv[here] - texture.low) / (texture.high - texture.low) * 2 - 1
                sampled = functional.grid_sample(texture.values, grid[None, None], align_corners=False)
                values[here] = sampled[0, :, 0].T
        return {name: values[:, channels] for name, channels in CHANNELS.items()}

    def _bake(self, part: int, name: str, resolution: int) -> PartTexture:
        chosen = self._head_model.face_parts == part
        uv_faces, faces = self._uv_faces[chosen], self._head_model.faces[chosen]
        low, high = torch.zeros(2), torch.ones(2)
        if name != "skin":
            resolution = max(resolution // SMALL_PART_SCALE, 32)
            corners = self._uv[uv_faces].reshape(-1, 2)
            low, high = corners.amin(0) - 1e-3, corners.amax(0) + 1e-3
        texels = (self._uv - low) / (high - low) * resolution
        depth = torch.ones(len(texels))
        fragments = rasterize_mesh(texels, depth, uv_faces, resolution, resolution, cull_backfaces=False)
        mask = fragments.mask
        baked = torch.zeros(resolution, resolution, CHANNELS["mouth_region"].stop)
        points = (self._points[faces[fragments.faces[mask]]] * fragments.barycentric[mask][..., None]).sum(1)
        baked[mask] = self._skin(points) if name == "skin" else self._inner_part(name, points)
        return PartTexture(_dilate(baked.permute(2, 0, 1)[None], mask[None, None]), low, high)

    def _skin(self, points: Tensor) -> Tensor:
        distance = torch.full((len(points),), 1.0)
        near = (
            (points[:, 0].abs() < 0.05) & (points[:, 1] < -0.03) & (points[:, 1] > -0.12) & (points[:, 2] > 0)
        )
        distance[near] = signed_distance(points[near, :2], self._outline)
        lips = smooth_step(0.0008, -0.0008, distance)
        bump = torch.stack([value_noise(points * 1300, seed) for seed in (21, 22, 23)], -1)
        ellipse = ((points[:, 0].abs() - 0.031) / EYE_RADII[0]) ** 2 + (points[:, 1] / EYE_RADII[1]) ** 2
        eye_region = (ellipse < 1) & (points[:, 2] > -0.02)
        return torch.cat(
            [
                skin_albedo(points, lips, self._subject),
                0.05 * bump,
                value_noise(points * 80, 20)[:, None],
                lips[:, None],
                hair_coverage(points, self._subject.hair_style)[:, None],
                shirt_coverage(points)[:, None],
                eye_region.float()[:, None],
                (distance < MOUTH_MARGIN).float()[:, None],
            ],
            1,
        )

    def _inner_part(self, name: str, points: Tensor) -> Tensor:
        baked = torch.zeros(len(points), CHANNELS["mouth_region"].stop)
        if name in ("eye_left", "eye_right"):
            eyes = self._head_model.template_joints[
                [self._head_model.joint("eye_left"), self._head_model.joint("eye_right")]
            ]
            joint = eyes[0 if name == "eye_left" else 1] - eyes.mean(0)
            albedo = eye_albedo(points - joint, self._subject)
        elif name in ("teeth_upper", "teeth_lower"):
            albedo = teeth_albedo(points)
        else:
            albedo = flat_albedo(name, points)
        baked[:, CHANNELS["albedo"]] = albedo
        region = "eye_region" if name in ("eye_left", "eye_right", "lashes") else "mouth_region"
        # The cavity's mesh extends into the nostrils, which are no part of the mouth.
        nostrils = (points[:, 1] > NOSTRILS) & (name == "mouth_cavity")
        baked[:, CHANNELS[region]] = (~nostrils).float()[:, None]
        return baked


def _dilate(values: Tensor, mask: Tensor) -> Tensor:
    """Spread ``[1, C, N, N]`` into empty texels, so that seams do not bleed."""
    weight = mask.float()
    for _ in range(SEAM_TEXELS):
        spread = functional.avg_pool2d(values * weight, 3, 1, 1)
        share = functional.avg_pool2d(weight, 3, 1, 1)
        values = torch.where(weight > 0, values, spread / share.clamp_min(1e-6))
        weight = (share > 0).float()
    return values
