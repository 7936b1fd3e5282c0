"""Static offset: one rigid motion of the mesh in the head, the same in every frame of a clip.

Texture and outline are averaged over the clip, so they move with it and an alignment to them drifts along it:
the mesh slides over the face, and lips and lids open where the person has none. Landmarks determine it well,
since their errors average out over poses.
"""

from __future__ import annotations

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.tracking.alignment.pose_step import place_gradient

STEPS = 3
DAMPING = 1e-6


def without_static_offset(
    camera: Camera,
    points: Tensor,
    first: tuple[Tensor, Tensor],
    moved: tuple[Tensor, Tensor],
    frame_weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Poses ``moved`` after the static motion that brings the points' mean pixels nearest to ``first``.

    Args:
        camera: ``T`` cameras.
        points: ``[Q, 3]`` in the head's rest space.
        first: rotation ``[T, 3, 3]`` and translation ``[T, 3]``, head to world, that are right on average.
        moved: the same, right but for a static offset.
        frame_weights: ``[T]``; frames of weight 0 are not moved.

    Returns:
        Rotation and translation, ``moved`` times one rigid motion of the rest space (Gauss-Newton).
    """
    target, _ = camera.project(_placed(points, first))
    rotation, translation = moved
    turned = torch.eye(3)
    shifted = torch.zeros(3)
    for _ in range(STEPS):
        pose = rotation @ turned, (rotation @ shifted) + translation
        world = _placed(points, pose)
        residual = (camera.project(world)[0] - target) * frame_weights[:, None, None]
        normal, slope = torch.zeros(6, 6), torch.zeros(6)
        for axis in torch.eye(2):
            by_place = place_gradient(camera, axis.expand_as(residual), world) @ pose[0]
            jacobian = torch.cat([torch.linalg.cross(points.expand_as(by_place), by_place), by_place], -1)
            jacobian = (jacobian * frame_weights[:, None, None]).flatten(0, 1)
            normal += jacobian.T @ jacobian
            slope += jacobian.T @ (residual @ axis).flatten()
        step = -torch.linalg.solve(normal + DAMPING * normal.diagonal().mean() * torch.eye(6), slope)
        shifted = shifted + turned @ step[3:]
        turned = turned @ axis_angle_to_matrix(step[:3])
    found = (frame_weights > 0)[:, None]
    return (
        torch.where(found[..., None], rotation @ turned, rotation),
        torch.where(found, translation + rotation @ shifted, translation),
    )


def _placed(points: Tensor, pose: tuple[Tensor, Tensor]) -> Tensor:
    rotation, translation = pose
    return points @ rotation.transpose(1, 2) + translation[:, None]
