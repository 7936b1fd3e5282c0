"""A recording with the expressions of one head model as one with those of another."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.data.drivers.performance import Recording
from partnerface.head_models.expression_map import ExpressionMap, expression_map
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.rotations import rotation_vectors

KEPT_JOINTS = ("eye_left", "eye_right")
"""Joints whose rotations mean the same in every head model."""


def has_named_expressions(head_model: HeadModel) -> bool:
    """True if expressions have ARKit's names, by which motions and recordings of phones are read."""
    return "jawOpen" in head_model.asset.expression_names


def carried_recording(recording: Recording, source: HeadModel, target: HeadModel) -> Recording:
    """Carry a recording over to another head model, with a note of how much motion was lost.

    Args:
        recording: its expressions and joints are the source's.
        source: the head model that it was recorded with.
        target: the head model that is to show it.

    Raises:
        UserError: a head model has no landmark embedding.
    """
    mapping = expression_map(source, target)
    controls = _controls(recording.expression, recording.joint_rotations, source)
    found = mapping.carry(controls)
    count = target.num_expression
    joints = torch.eye(3).repeat(len(found), target.num_joints, 1, 1)
    for name in KEPT_JOINTS:
        if all(name in head_model.asset.joint_names for head_model in (source, target)):
            joints[:, target.joint(name)] = recording.joint_rotations[:, source.joint(name)]
    if target.jaw_joint is not None:
        joints[:, target.jaw_joint] = axis_angle_to_matrix(found[:, count:])
    rotation, translation = _placed(recording, mapping)
    neutral = recording.neutral
    if neutral is not None:
        resting = torch.cat([neutral, neutral.new_zeros(controls.shape[1] - len(neutral))])
        neutral = mapping.carry(resting[None])[0, :count]
    lost, whole = mapping.error_mm(controls[recording.tracked], found[recording.tracked])
    note = (
        f"{recording.name}: expressions of {source.asset.name} carried over to {target.asset.name}: "
        f"{lost:.2f} of {whole:.2f} mm of motion are not reproduced (root mean square over the face)"
    )
    return replace(
        recording,
        expression=found[:, :count],
        joint_rotations=joints,
        rotation=rotation,
        translation=translation,
        neutral=neutral,
        torso=None,
        notes=[*recording.notes, note],
    )


def _controls(expression: Tensor, joint_rotations: Tensor, head_model: HeadModel) -> Tensor:
    if head_model.jaw_joint is None:
        return expression
    return torch.cat([expression, rotation_vectors(joint_rotations[:, head_model.jaw_joint])], 1)


def _placed(recording: Recording, mapping: ExpressionMap) -> tuple[Tensor, Tensor | None]:
    """Pose ``[T, 3, 3]`` and place ``[T, 3]`` of the target's rest space where the source's face was."""
    turn = mapping.rotation.T.to(recording.rotation)
    rotation = recording.rotation @ turn
    if recording.translation is None:
        return rotation, None
    # The target's origin in the source's rest space.
    origin = -(mapping.offset @ mapping.rotation / mapping.scale).to(recording.translation)
    return rotation, recording.translation + recording.rotation @ origin
