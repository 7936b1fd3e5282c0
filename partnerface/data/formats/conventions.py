"""Other systems' conventions into ours: camera axes, FLAME's root rotation, moving cameras."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_parameters import HeadParameters


def inverse_rigid(matrices: Tensor) -> Tensor:
    """Inverse ``[..., 3, 4]`` of rigid transforms ``[..., 3, 4]``."""
    rotation = matrices[..., :3].mT
    return torch.cat([rotation, -rotation @ matrices[..., 3:]], -1)


def flame_parameters(
    head_model: FlameHead,
    identity: Tensor,
    expression: Tensor,
    joints: dict[str, Tensor],
    root_rotation: Tensor,
    translation: Tensor,
) -> HeadParameters:
    """Head parameters of a head that FLAME's own code poses: root rotation about the root joint, then shift.

    Args:
        head_model: FLAME with the file's components.
        identity: ``[I]``.
        expression: ``[T, E]``.
        joints: ``[T, 3, 3]`` rotations by joint name; absent joints are at rest.
        root_rotation: ``[T, 3, 3]``.
        translation: ``[T, 3]`` metres, added last.
    """
    count = len(expression)
    rotations = torch.eye(3, dtype=torch.float64).repeat(count, head_model.num_joints, 1, 1)
    for name, values in joints.items():
        rotations[:, head_model.joint(name)] = values
    root = head_model.identity_joints(identity.float())[head_model.joint("root")].double()
    root = root.expand(count, 3)
    if head_model.joint_expression_basis is not None:
        root = root + expression @ head_model.joint_expression_basis[:, head_model.joint("root")].double()
    in_file = root + head_model.origin.double()
    return HeadParameters(
        identity=identity,
        expression=expression,
        joint_rotations=rotations,
        rotation=root_rotation,
        translation=translation + in_file - (root_rotation @ root[..., None])[..., 0],
    )


def flame_translation(head_model: FlameHead, head: HeadParameters) -> Tensor:
    """``[T, 3]`` what FLAME's own code adds last for a head; the inverse of `flame_parameters`."""
    still = replace(head, translation=torch.zeros_like(head.translation))
    shift = flame_parameters(
        head_model, head.identity, head.expression, {}, still.rotation, still.translation
    ).translation
    return head.translation - shift


def split_joint_pose(pose: Tensor) -> dict[str, Tensor]:
    """``[T, 3, 3]`` rotations of neck, jaw and both eyes of axis-angles ``[T, 12]`` in this order."""
    names = ("neck", "jaw", "eye_left", "eye_right")
    return dict(zip(names, axis_angle_to_matrix(pose.unflatten(1, (4, 3))).unbind(1), strict=True))


def standing_camera(camera: Camera, head: HeadParameters) -> tuple[Camera, HeadParameters]:
    """The same pictures from cameras that stand still at the origin, y up, looking along -z; float32.

    What moved the camera around a still head moves the head: so is the world of our own datasets, in which
    shoulders stand still and heads turn.
    """
    count = len(camera)
    standing = Camera.static(count, 1.0, camera.width, camera.height).to(torch.float64)
    change = standing.camera_to_world[:, :, :3] @ camera.camera_to_world[:, :, :3].mT
    place = (change @ (head.translation - camera.camera_to_world[:, :, 3])[..., None])[..., 0]
    moved = replace(head, rotation=change @ head.rotation, translation=place)
    standing = replace(standing, intrinsics=camera.intrinsics)
    return standing.to(torch.float32), moved.to(torch.float32)
