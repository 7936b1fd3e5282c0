"""One Gauss-Newton step of head poses: samples of images, Jacobian, damped solution; static offset."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera

GRAZING_COSINE = 0.3
SAMPLES_PER_INDEPENDENT = 8.0
"""Neighbouring points share image structure: this many count as one measurement."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How far and how often poses are moved.

    Attributes:
        rounds: averages of texture and outline.
        steps: Gauss-Newton steps in each round.
        spacing_m: distance between the surface points.
        rotation_sigma: standard deviation of the correction, in radians.
        shift_sigma: standard deviation of the shift parallel to the image plane, in metres.
        depth_sigma: standard deviation of the shift along the viewing direction, in metres.
        outline_weight: points of the skin that one point of the outline counts for.
    """

    rounds: int = 10
    steps: int = 2
    spacing_m: float = 0.005
    rotation_sigma: float = 0.03
    shift_sigma: float = 0.004
    depth_sigma: float = 0.02
    outline_weight: float = 30.0


def project_points(
    camera: Camera, local: Tensor, normals: Tensor, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels ``[T, Q, 2]``, world points ``[T, Q, 3]`` and visibility ``[T, Q]`` in [0, 1]."""
    world = local @ rotation.transpose(1, 2) + translation[:, None]
    pixels, _ = camera.project(world)
    towards = functional.normalize(camera.camera_to_world[:, None, :, 3] - world, dim=-1)
    cosine = ((normals @ rotation.transpose(1, 2)) * towards).sum(-1)
    size = torch.tensor([camera.width, camera.height]).to(pixels)
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    return pixels, world, ((cosine - GRAZING_COSINE) / (1 - GRAZING_COSINE)).clamp(0, 1) * inside


def sample_planes(planes: Tensor, pixels: Tensor) -> Tensor:
    """Planes ``[T, C, H, W]`` at pixels ``[T, Q, 2]`` as ``[T, Q, C]``."""
    size = torch.tensor([planes.shape[3], planes.shape[2]]).to(pixels)
    grid = (2 * pixels / size - 1)[:, None]
    values = functional.grid_sample(planes, grid, align_corners=False, padding_mode="border")
    return values[:, :, 0].transpose(1, 2)


def place_gradient(camera: Camera, gradient: Tensor, world: Tensor) -> Tensor:
    """Derivative ``[T, Q, 3]`` of the image under each point by the point's place, in world axes.

    ``gradient`` ``[T, Q, 2]`` is the image's, per pixel.
    """
    seen = camera.world_to_camera(world)
    slope = gradient * camera.intrinsics[:, None, :2] / seen[..., 2:]
    along = -(slope * seen[..., :2]).sum(-1, keepdim=True) / seen[..., 2:]
    return torch.cat([slope, along], -1) @ camera.camera_to_world[:, :, :3].transpose(1, 2)


def pose_jacobian(camera: Camera, gradient: Tensor, world: Tensor, translation: Tensor) -> Tensor:
    """Derivative ``[T, Q, 6]`` of the image under each point by the pose, in world axes.

    The first three columns are a rotation about the head's origin, the others a translation;
    ``gradient`` ``[T, Q, 2]`` is the image's, per pixel.
    """
    by_place = place_gradient(camera, gradient, world)
    by_turn = torch.linalg.cross(world - translation[:, None], by_place)
    return torch.cat([by_turn, by_place], -1)


def damped_step(
    normal: Tensor, slope: Tensor, moved: tuple[Tensor, Tensor], settings: AlignmentSettings
) -> tuple[Tensor, Tensor]:
    """One damped Gauss-Newton step per frame: rotation ``[T, 3]`` and translation ``[T, 3]``.

    Args:
        normal: ``[T, 6, 6]`` sum of the measurements' Jacobian products over their variances.
        slope: ``[T, 6]`` sum of the Jacobians times the residuals, over their variances.
        moved: rotation ``[T, 3, 3]`` and translation ``[T, 3]`` since the first pose.
        settings: give the prior that holds the first pose.
    """
    sigma = torch.tensor([settings.rotation_sigma] * 3 + [settings.shift_sigma] * 2 + [settings.depth_sigma])
    precision = sigma.to(normal).square().reciprocal() * SAMPLES_PER_INDEPENDENT
    turned, shifted = moved
    skew = 0.5 * (turned - turned.transpose(1, 2))
    so_far = torch.cat([torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1), shifted], 1)
    step = torch.linalg.solve(normal + torch.diag(precision), -(slope + precision * so_far))
    return step[:, :3], step[:, 3:]


POSE_STEPS = 3
DAMPING = 1e-6


def without_static_offset(
    camera: Camera,
    points: Tensor,
    first: tuple[Tensor, Tensor],
    moved: tuple[Tensor, Tensor],
    frame_weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Poses ``moved`` after the static motion that brings the points' mean pixels nearest to ``first``.

    Texture and outline are averaged over the clip, so they move with it and an alignment to them drifts along
    it: lips and lids open where the person has none. Landmarks do not: their errors average out over poses.

    Args:
        camera: ``T`` cameras.
        points: ``[Q, 3]`` in the head's rest space.
        first: rotation ``[T, 3, 3]`` and translation ``[T, 3]``, head to world, that are right on average.
        moved: the same, right but for one rigid motion of the rest space, which is found by Gauss-Newton.
        frame_weights: ``[T]``; frames of weight 0 are not moved.
    """
    target, _ = camera.project(_placed(points, first))
    rotation, translation = moved
    turned = torch.eye(3)
    shifted = torch.zeros(3)
    for _ in range(POSE_STEPS):
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
