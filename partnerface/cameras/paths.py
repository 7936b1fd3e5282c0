"""Paths of cameras: looking at a point, around it, and from one camera to the next."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_quaternion, quaternion_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.errors import UserError


def looking_at(camera: Camera, target: Tensor) -> Camera:
    """The same cameras at their places, upright and with ``target`` ``[3]`` or ``[F, 3]`` on their axis.

    Upright is the world's y axis; the coordinates are metres in the world.

    Raises:
        UserError: the target is at, straight above or straight below a camera.
    """
    centre = camera.camera_to_world[..., 3]
    forward = functional.normalize(target.to(centre) - centre, dim=-1)
    across = torch.linalg.cross(forward, forward.new_tensor([0.0, 1.0, 0.0]).expand_as(forward))
    if (across.norm(dim=-1) < 1e-4).any():
        raise UserError("camera: its target is straight above or below it, so that no way is up")
    right = functional.normalize(across, dim=-1)
    down = torch.linalg.cross(forward, right)
    pose = torch.stack([right, down, forward, centre], -1)
    return replace(camera, camera_to_world=pose)


def moved_around(camera: Camera, target: Tensor, side: Tensor, up: Tensor) -> Camera:
    """One camera (F = 1) carried around a point, which stays where it is in the picture.

    Args:
        camera: the camera to start from.
        target: ``[3]`` the point, in the world, metres.
        side: ``[N]`` degrees about the world's y axis; above 0 to the camera's right.
        up: ``[N]`` degrees about the camera's x axis; above 0 upwards.

    Returns:
        N cameras.
    """
    pose, count = camera.camera_to_world, len(side)
    target = target.to(pose)
    vertical = side.to(pose).deg2rad()[:, None] * pose.new_tensor([0.0, 1.0, 0.0])
    level = -up.to(pose).deg2rad()[:, None] * pose[0, :, 0]
    turn = axis_angle_to_matrix(vertical) @ axis_angle_to_matrix(level)
    centre = turn @ (pose[0, :, 3] - target) + target
    moved = torch.cat([turn @ pose[0, :, :3], centre[..., None]], -1)
    return replace(camera, intrinsics=camera.intrinsics.expand(count, -1), camera_to_world=moved)


def orbit(camera: Camera, target: Tensor, frames: int, side: float = 20.0, up: float = 10.0) -> Camera:
    """A closed path of F cameras around a point: to both sides, and up and down twice as often.

    It starts at the camera itself and would be there again after the last frame, so that it can be repeated.

    Args:
        camera: F = 1.
        target: ``[3]`` the point, in the world, metres.
        frames: number of cameras F.
        side: farthest degrees to the camera's right and left.
        up: farthest degrees up and down.
    """
    phase = 2 * torch.pi * torch.arange(frames, dtype=torch.float64) / max(frames, 1)
    return moved_around(camera, target, side * phase.sin(), up * (2 * phase).sin())


def interpolated(cameras: Camera, frames: int) -> Camera:
    """F cameras along K given ones, the first and the last included, evenly from each to the next.

    Places and intrinsics move straight, rotations about a fixed axis the shorter way round.

    Raises:
        UserError: K is 0, or ``frames`` is below 1.
    """
    count = len(cameras)
    if min(count, frames) < 1:
        raise UserError(f"camera path: {frames} frames along {count} cameras; give at least one of each")
    place = torch.linspace(0, count - 1, frames, dtype=torch.float64)
    before = place.floor().long().clamp_max(max(count - 2, 0))
    after, share = (before + 1).clamp_max(count - 1), (place - before)[:, None]

    def straight(values: Tensor) -> Tensor:
        return torch.lerp(values[before].double(), values[after].double(), share.to(values.device))

    pose = cameras.camera_to_world
    first = pose[..., :3].double()
    relative = first[before].transpose(1, 2) @ first[after]
    turn = quaternion_to_matrix(_power(matrix_to_quaternion(relative), share.to(pose.device)))
    poses = torch.cat([first[before] @ turn, straight(pose[..., 3])[..., None]], -1)
    return replace(
        cameras,
        intrinsics=straight(cameras.intrinsics).to(cameras.intrinsics),
        camera_to_world=poses.to(pose),
    )


def _power(quaternions: Tensor, share: Tensor) -> Tensor:
    """The rotations of unit quaternions ``[N, 4]`` by a share ``[N, 1]`` of their angle."""
    positive = torch.where(quaternions[:, :1] < 0, -quaternions, quaternions)
    sine = positive[:, 1:].norm(dim=-1, keepdim=True)
    angle = torch.atan2(sine, positive[:, :1]) * share
    axis = positive[:, 1:] / sine.clamp_min(1e-12)
    return torch.cat([angle.cos(), angle.sin() * axis], -1)
