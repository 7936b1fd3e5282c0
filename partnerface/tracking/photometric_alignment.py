"""Photometric alignment: sub-pixel head poses that agree on one texture of the face.

A landmark detector errs with the pose (its points creep by more than a pixel as the head nods), and its
residual does not show it. The skin itself does: points of the surface must look the same in every
frame. Each round averages a texture over the clip and moves every frame's rigid pose towards it
(Gauss-Newton on the inverse problem of Lucas and Kanade 1981, over a head model instead of a window).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from kornia.filters import spatial_gradient
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_parts import head_parts
from partnerface.rendering.mesh_rasterizer import vertex_normals
from partnerface.rendering.surface_points import SurfacePoints, spread_points
from partnerface.tracking.local_contrast import local_contrast
from partnerface.tracking.pose_step import (
    AlignmentSettings,
    damped_step,
    pose_jacobian,
    project_points,
    sample_planes,
)

WORKING_SIZE = 256
OUTLIER = 0.5
"""Residual, in local standard deviations of the image, beyond which a point loses weight."""

CHUNK_FRAMES = 50
CONTRAST_LEVELS = 30.0


@torch.no_grad()
def align_poses(
    luminance: Tensor,
    camera: Camera,
    head: HeadParameters,
    frame_weights: Tensor,
    head_model: HeadModel,
    settings: AlignmentSettings | None = None,
    on_round: Callable[[int], None] | None = None,
) -> HeadParameters:
    """Correct the rigid pose of every tracked frame.

    Args:
        luminance: ``[T, H, W]`` uint8.
        camera: ``T`` cameras at the size of these images.
        head: ``T`` fitted head parameters.
        frame_weights: ``[T]``; frames of weight 0 keep their pose.
        head_model: the fitted head model.
        settings: see `AlignmentSettings`.
        on_round: called with the number of each finished round.
    """
    settings = settings or AlignmentSettings()
    points = _stable_skin(head_model, head.identity, settings.spacing_m)
    chunks = [
        _Chunk.of(frames, luminance, camera, head, frame_weights, head_model, points)
        for frames in torch.arange(len(head)).split(CHUNK_FRAMES)
    ]
    for number in range(settings.rounds):
        totals = [chunk.texture_sums() for chunk in chunks]
        weight = sum(total[1] for total in totals)
        texture = sum(total[0] for total in totals) / weight.clamp_min(1e-6)
        seen_often = (weight > 0.1 * frame_weights.sum()).float()
        for chunk in chunks:
            chunk.move_towards(texture, seen_often, settings)
        if on_round is not None:
            on_round(number + 1)
    return replace(
        head,
        rotation=torch.cat([chunk.rotation for chunk in chunks]),
        translation=torch.cat([chunk.translation for chunk in chunks]),
    )


@dataclass
class _Chunk:
    """Some frames of the clip. Long clips do not fit in memory as floats with gradients.

    Attributes:
        contrast: ``[T, H, W]`` int8, in units of 1 / `CONTRAST_LEVELS`.
        camera: their cameras.
        local: ``[T, Q, 3]`` points with expression in the head's rest space.
        normals: ``[T, Q, 3]``.
        weights: ``[T]``.
        first_rotation, first_translation: the poses of the landmark fit.
        rotation, translation: the poses now.
    """

    contrast: Tensor
    camera: Camera
    local: Tensor
    normals: Tensor
    weights: Tensor
    first_rotation: Tensor
    first_translation: Tensor
    rotation: Tensor
    translation: Tensor

    @classmethod
    def of(
        cls,
        frames: Tensor,
        luminance: Tensor,
        camera: Camera,
        head: HeadParameters,
        frame_weights: Tensor,
        head_model: HeadModel,
        points: SurfacePoints,
    ) -> _Chunk:
        contrast = local_contrast(luminance[frames].float() / 255)
        some = head.select(frames)
        local, normals = _rest_points(head_model, some, points)
        return cls(
            contrast=(contrast * CONTRAST_LEVELS).clamp(-127, 127).to(torch.int8),
            camera=camera.select(frames),
            local=local,
            normals=normals,
            weights=frame_weights[frames, None],
            first_rotation=some.rotation,
            first_translation=some.translation,
            rotation=some.rotation,
            translation=some.translation,
        )

    def planes(self) -> Tensor:
        """Contrast and its gradients per pixel ``[T, 3, H, W]``."""
        images = self.contrast[:, None].float() / CONTRAST_LEVELS
        return torch.cat([images, spatial_gradient(images, "diff")[:, 0]], 1)

    def texture_sums(self) -> tuple[Tensor, Tensor]:
        """Weighted sum ``[Q]`` of what the points show, and the weight ``[Q]``."""
        planes = self.contrast[:, None].float() / CONTRAST_LEVELS
        pixels, _, visible = project_points(
            self.camera, self.local, self.normals, self.rotation, self.translation
        )
        weight = visible * self.weights
        shown = sample_planes(planes, pixels)[..., 0]
        return (weight * shown).sum(0), weight.sum(0)

    def move_towards(self, texture: Tensor, seen_often: Tensor, settings: AlignmentSettings) -> None:
        """Gauss-Newton steps of each pose towards the texture ``[Q]``."""
        planes = self.planes()
        for _ in range(settings.steps):
            pixels, world, visible = project_points(
                self.camera, self.local, self.normals, self.rotation, self.translation
            )
            shown = sample_planes(planes, pixels)
            residual = shown[..., 0] - texture
            weight = visible * seen_often / (1 + (residual / OUTLIER).square())
            jacobian = pose_jacobian(self.camera, shown[..., 1:], world, self.translation)
            turned = self.rotation @ self.first_rotation.transpose(1, 2)
            moved = (turned, self.translation - self.first_translation)
            turn, shift = damped_step(jacobian, residual, weight, moved, settings)
            self.rotation = axis_angle_to_matrix(turn * self.weights) @ self.rotation
            self.translation = self.translation + shift * self.weights


def _stable_skin(head_model: HeadModel, identity: Tensor, spacing: float) -> SurfacePoints:
    """Points on the skin of the face that neither blinks nor speaks."""
    weights = head_parts(head_model, identity).weights
    restless = torch.stack([weights[name] for name in ("eyes", "mouth", "scalp", "ears", "neck", "torso")])
    stable = (restless.amax(0) < 0.3) & (head_model.head_weights() > 0.99)
    faces = head_model.faces[head_model.part_faces("skin")]
    return spread_points(head_model.identity_vertices(identity), faces[stable[faces].all(1)], spacing)


def _rest_points(head_model: HeadModel, head: HeadParameters, points: SurfacePoints) -> tuple[Tensor, Tensor]:
    """Points ``[T, Q, 3]`` with expression in the head's rest space, and their normals ``[T, Q, 3]``."""
    neutral = head_model.identity_vertices(head.identity)
    local, normals = [], []
    for frame in range(len(head)):
        vertices = neutral + head_model.expression_offsets(head.expression[frame : frame + 1])[0]
        local.append(points.of(vertices))
        normals.append(points.of(vertex_normals(vertices, head_model.faces)))
    return torch.stack(local), functional.normalize(torch.stack(normals), dim=-1)
