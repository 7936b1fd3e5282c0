"""PosedFrame: one frame of the video, posed and ready for rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.avatar.voxel_map import PictureVoxels
from partnerface.deformation.driving_signal import rotation_against_torso
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.sampling.head_sampler import HeadBounds
from partnerface.skinning.nearest_surface import PosedSurface


@dataclass
class PosedFrame:
    """One frame, posed and ready for rays.

    Attributes:
        bounds: what rays are sampled against.
        surface: what points are skinned against.
        head_rotation: ``[3, 3]`` head to world.
        driving: ``[D]`` driving signal.
        torso_motion: ``[2, 3]`` image coordinates to those of the reference torso image.
        pose: ``[6]`` the head's pose relative to the mean of training; the torso gives way to it.
        voxels: the way to canonical space between known places, for a picture of many samples.
    """

    bounds: HeadBounds
    surface: PosedSurface
    head_rotation: Tensor
    driving: Tensor
    torso_motion: Tensor
    pose: Tensor
    voxels: PictureVoxels | None = None


def head_pose(head: HeadParameters) -> Tensor:
    """``[F, 6]`` rotation against the torso in radians and translation in decimetres, without gradient."""
    return torch.cat([rotation_against_torso(head), 10 * head.translation.detach()], 1)
