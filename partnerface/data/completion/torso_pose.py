"""The torso's pose in space, from the head's poses and the torso's motion in the pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from partnerface.cameras.pinhole import OPENGL_TO_OPENCV, Camera
from partnerface.head_models.head_parameters import HeadParameters

TORSO_CENTRE = (0.5, 0.85)
"""Column and row in [0, 1] of the point whose motion the torso follows."""


def median_frame(head: HeadParameters, frame_weights: Tensor) -> int:
    """The tracked frame whose head pose is nearest to the clip's median."""
    tracked = torch.where(frame_weights > 0)[0]
    # Ten centimetres count as much as one radian.
    pose = torch.cat([head.rotation.flatten(1), head.translation * 10], 1)[tracked]
    return int(tracked[(pose - pose.median(0).values).square().sum(1).argmin()])


def with_torso_pose(head: HeadParameters, frame_weights: Tensor, camera: Camera) -> HeadParameters:
    """Hold the torso at the clip's median head position, upright in the picture and facing the camera.

    Args:
        head: ``T`` head parameters; a torso pose that they have is replaced.
        frame_weights: ``[T]``; frames of weight 0 do not count.
        camera: ``T`` cameras.
    """
    median = head.translation[frame_weights > 0].median(0).values
    upright = camera.camera_to_world[:, :, :3] @ torch.diag(torch.tensor(OPENGL_TO_OPENCV))
    return replace(head, torso_rotation=upright, torso_translation=median.repeat(len(head), 1))


def move_torso(head: HeadParameters, camera: Camera, matrices: Tensor) -> HeadParameters:
    """Shift the torso pose parallel to the image plane as the torso's centre moves in the pictures.

    Args:
        head: ``T`` head parameters with a torso pose.
        camera: ``T`` cameras.
        matrices: ``[T, 2, 3]`` torso motion, frame to reference, see `TrackedSequence`.
    """
    assert head.torso_translation is not None
    centre = torch.tensor(TORSO_CENTRE)
    inverse = torch.linalg.inv(matrices[..., :2])
    place = (inverse @ (centre - matrices[..., 2])[..., None])[..., 0]
    shift = (place - centre) * torch.tensor([camera.width, camera.height])
    depth = camera.world_to_camera(head.torso_translation[:, None])[:, 0, 2:]
    metres = shift * depth / camera.intrinsics[:, :2]
    moved = (camera.camera_to_world[:, :, :2] @ metres[..., None])[..., 0]
    return replace(head, torso_translation=head.torso_translation + moved)


def row_in_frame(matrix: Tensor, row: float) -> float:
    """Where a row of the reference torso image lies in a frame, at the torso's centre column.

    Args:
        matrix: ``[2, 3]`` the frame's torso motion, frame to reference.
        row: in [0, 1].
    """
    point = torch.tensor([TORSO_CENTRE[0], row])
    return float(torch.linalg.solve(matrix[:, :2], point - matrix[:, 2])[1])
