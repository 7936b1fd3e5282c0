"""Linear blend skinning as free functions: kinematic chain, blended vertex transforms, skinning.

Source: SMPL (Loper et al. 2015), equations 2 to 4; FLAME (Li et al. 2017) uses the same form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.head_models.rotations import matrix_quaternions, quaternion_matrices


def joint_transforms(joints: Tensor, rotations: Tensor, parents: list[int]) -> Tensor:
    """Rest-relative transforms of a kinematic chain.

    Args:
        joints: ``[F, J, 3]`` joint positions at rest.
        rotations: ``[F, J, 3, 3]`` rotation of each joint relative to its parent.
        parents: index of each joint's parent, -1 for the root; a parent precedes its children.

    Returns:
        ``[F, J, 3, 4]``: maps a rest point that is rigidly attached to joint j to its posed place.
    """
    global_rotations = [rotations[:, 0]]
    positions = [joints[:, 0]]
    for j in range(1, len(parents)):
        p = parents[j]
        global_rotations.append(global_rotations[p] @ rotations[:, j])
        bone = (joints[:, j] - joints[:, p])[..., None]
        positions.append(positions[p] + (global_rotations[p] @ bone)[..., 0])
    rotation = torch.stack(global_rotations, 1)
    position = torch.stack(positions, 1)
    offset = position - (rotation @ joints[..., None])[..., 0]
    return torch.cat([rotation, offset[..., None]], -1)


def compose_rigid(rotation: Tensor, translation: Tensor, transforms: Tensor) -> Tensor:
    """Apply a rigid pose ``[F, 3, 3]``, ``[F, 3]`` after ``transforms`` ``[F, J, 3, 4]``."""
    composed = rotation[:, None] @ transforms
    return torch.cat([composed[..., :3], composed[..., 3:] + translation[:, None, :, None]], -1)


def halfway_transform(first: Tensor, second: Tensor, pivot: Tensor) -> Tensor:
    """The rigid transform ``[F, 3, 4]`` halfway between two, half the relative rotation.

    The rest point ``pivot`` ``[F, 3]`` is mapped to the mean of its images under both. The mean of the two
    matrices would shrink the neck where they differ.
    """
    # A quaternion with positive real part plus one points halfway and, unlike the axis of a rotation,
    # is smooth at the identity.
    relative = matrix_quaternions(first[..., :3].transpose(-1, -2) @ second[..., :3])
    halfway = relative + torch.eye(4, dtype=relative.dtype, device=relative.device)[0]
    rotation = first[..., :3] @ quaternion_matrices(halfway)
    target = 0.5 * (transform_points(first, pivot) + transform_points(second, pivot))
    offset = target - (rotation @ pivot[..., None])[..., 0]
    return torch.cat([rotation, offset[..., None]], -1)


def transform_points(transforms: Tensor, points: Tensor) -> Tensor:
    """Apply transforms ``[..., 3, 4]`` to points ``[..., 3]``."""
    return (transforms[..., :3] @ points[..., None])[..., 0] + transforms[..., 3]


def blend_transforms(weights: Tensor, transforms: Tensor) -> Tensor:
    """Blend joint transforms ``[F, J, 3, 4]`` with skinning weights ``[V, J]`` to ``[F, V, 3, 4]``."""
    frames, joints = transforms.shape[:2]
    return (weights @ transforms.reshape(frames, joints, 12)).reshape(frames, -1, 3, 4)
