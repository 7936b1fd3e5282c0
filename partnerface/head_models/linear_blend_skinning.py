"""Linear blend skinning as free functions: kinematic chain, blended vertex transforms, skinning.

Source: SMPL (Loper et al. 2015), equations 2 to 4; FLAME (Li et al. 2017) uses the same form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.head_models.rotations import half_rotations


def joint_transforms(
    joints: Tensor, rotations: Tensor, parents: list[int], rotation: Tensor, translation: Tensor
) -> Tensor:
    """Transforms of a kinematic chain under a rigid pose.

    Args:
        joints: ``[F, J, 3]`` joint positions at rest.
        rotations: ``[F, J, 3, 3]`` rotation of each joint relative to its parent.
        parents: index of each joint's parent, -1 for the root; a parent precedes its children.
        rotation: ``[F, 3, 3]`` of the whole.
        translation: ``[F, 3]`` of the whole.

    Returns:
        ``[F, J, 3, 4]``: maps a rest point that is rigidly attached to joint j to its posed place.
    """
    places = joints.reshape(-1, 3, 1)
    # Each joint turns about its own place. With a fourth row a step down the chain is one product.
    offsets = torch.baddbmm(places, rotations.reshape(-1, 3, 3), places, alpha=-1)
    own = _homogeneous(rotations, offsets.view(*joints.shape, 1))
    transforms: list[Tensor] = []
    whole = _homogeneous(rotation, translation[..., None])
    for j, parent in enumerate(parents):
        transforms.append(torch.bmm(whole if parent < 0 else transforms[parent], own[:, j]))
    return torch.stack([transform[:, :3] for transform in transforms], 1)


def _homogeneous(linear: Tensor, offset: Tensor) -> Tensor:
    """Matrices ``[..., 4, 4]`` of linear maps ``[..., 3, 3]`` and offsets ``[..., 3, 1]``."""
    last = torch.eye(4, dtype=linear.dtype, device=linear.device)[3:].expand(*linear.shape[:-2], 1, 4)
    return torch.cat([torch.cat([linear, offset], -1), last], -2)


def halfway_transform(first: Tensor, second: Tensor, pivot: Tensor) -> Tensor:
    """The rigid transform ``[F, 3, 4]`` halfway between two, half the relative rotation.

    The rest point ``pivot`` ``[F, 3]`` is mapped to the mean of its images under both. The mean of the two
    matrices would shrink the neck where they differ.
    """
    turn = half_rotations(torch.bmm(first[..., :3].transpose(-1, -2), second[..., :3]))
    rotation = torch.bmm(first[..., :3], turn)
    mean, pivot = torch.lerp(first, second, 0.5), pivot[..., None]
    image = torch.baddbmm(mean[..., 3:], mean[..., :3], pivot)
    return torch.cat([rotation, torch.baddbmm(image, rotation, pivot, alpha=-1)], -1)


def transform_points(transforms: Tensor, points: Tensor) -> Tensor:
    """Apply transforms ``[..., 3, 4]`` to points ``[..., 3]``."""
    shape = torch.broadcast_shapes(transforms.shape[:-2], points.shape[:-1])
    each = transforms.expand(*shape, 3, 4).reshape(-1, 3, 4)
    columns = points.expand(*shape, 3).reshape(-1, 3, 1)
    return torch.baddbmm(each[..., 3:], each[..., :3], columns).view(*shape, 3)


def blend_transforms(weights: Tensor, transforms: Tensor) -> Tensor:
    """Blend joint transforms ``[F, J, 3, 4]`` with skinning weights ``[V, J]`` to ``[F, V, 3, 4]``."""
    frames, joints = transforms.shape[:2]
    blended = torch.bmm(weights.expand(frames, -1, -1), transforms.reshape(frames, joints, 12))
    return blended.view(frames, -1, 3, 4)
