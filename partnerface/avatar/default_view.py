"""DefaultView: what a picture needs that does not come from a dataset; saved with the weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor, nn

from partnerface.cameras.pinhole import Camera
from partnerface.data.drivers.transfer import DrivenAvatar, ExpressionRange, torso_pose
from partnerface.data.view import View
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_rig import HeadRig

HEAD_BUFFERS = (
    *("expression", "joint_rotations", "rotation", "translation"),
    *("torso_rotation", "torso_translation"),
)
"""Head parameters of the default view that are saved, beside the identity."""

NEUTRAL_SHARE = 10
"""One frame of so many is a candidate for the neutral frame."""

RESPONSE_PRIOR = 0.05
"""Radians or metres: a head that moved less, in one frame or all frames together, teaches no response."""


class DefaultView(nn.Module):
    """The view of a training frame with little expression that faces the camera, and what training showed.

    Args:
        head_model: the head model of the avatar.

    Attributes:
        expression_low: ``[E]`` least expression coefficients in training.
        expression_high: ``[E]`` greatest.
        expression_axes, axis_low, axis_high: the box of the training expressions along their principal axes,
            see `ExpressionRange`. Older checkpoints, which lack it, get the box of the coefficients.
        torso_response, pose_low, pose_high: how the torso moves with the head, see `DrivenAvatar`. In older
            checkpoints it does not.
    """

    expression: Tensor
    joint_rotations: Tensor
    rotation: Tensor
    translation: Tensor
    torso_rotation: Tensor
    torso_translation: Tensor
    has_torso_pose: Tensor
    torso_motion: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor
    width_and_height: Tensor
    expression_low: Tensor
    expression_high: Tensor
    expression_axes: Tensor
    axis_low: Tensor
    axis_high: Tensor
    torso_response: Tensor
    pose_low: Tensor
    pose_high: Tensor

    def __init__(self, head_model: HeadModel) -> None:
        super().__init__()
        expressions, joints = head_model.num_expression, head_model.num_joints
        eye = torch.eye(3)
        self.register_buffer("expression", torch.zeros(expressions))
        self.register_buffer("joint_rotations", eye.repeat(joints, 1, 1))
        self.register_buffer("rotation", eye)
        self.register_buffer("translation", torch.zeros(3))
        self.register_buffer("torso_rotation", eye.clone())
        self.register_buffer("torso_translation", torch.zeros(3))
        self.register_buffer("has_torso_pose", torch.zeros((), dtype=torch.bool))
        self.register_buffer("torso_motion", torch.eye(2, 3))
        self.register_buffer("intrinsics", torch.ones(4))
        self.register_buffer("camera_to_world", torch.eye(3, 4))
        self.register_buffer("width_and_height", torch.ones(2, dtype=torch.long))
        self.register_buffer("expression_low", torch.zeros(expressions))
        self.register_buffer("expression_high", torch.zeros(expressions))
        self.register_buffer("expression_axes", torch.eye(expressions))
        self.register_buffer("axis_low", torch.zeros(expressions))
        self.register_buffer("axis_high", torch.zeros(expressions))
        self.register_buffer("torso_response", torch.zeros(9, 6))
        self.register_buffer("pose_low", torch.zeros(6))
        self.register_buffer("pose_high", torch.zeros(6))
        self.register_load_state_dict_pre_hook(_fill_in_range)

    def remember(self, train: View, head_model: HeadModel) -> None:
        """Take neutral frame and range from the views of the training frames."""
        frame, camera, head = train.select([neutral_frame(train, head_model)]), train.camera, train.head
        for record, names in (
            (frame.head, HEAD_BUFFERS),
            (frame, ("torso_motion",)),
            (frame.camera, ("intrinsics", "camera_to_world")),
        ):
            for name in names:
                if (value := getattr(record, name)) is not None:
                    getattr(self, name).copy_(value[0])
        self.has_torso_pose.fill_(head.torso_rotation is not None)
        self.width_and_height.copy_(torch.tensor([camera.width, camera.height]))
        self.expression_low.copy_(head.expression.amin(0))
        self.expression_high.copy_(head.expression.amax(0))
        # In double precision: the axes on which training hardly moved are to be orthonormal too.
        covariance = head.expression.double().T.cov(correction=0).reshape(len(self.expression), -1)
        self.expression_axes.copy_(torch.linalg.eigh(covariance).eigenvectors.T)
        along = (head.expression - self.expression) @ self.expression_axes.T
        self.axis_low.copy_(along.amin(0))
        self.axis_high.copy_(along.amax(0))
        self._remember_torso(train, frame)

    def _remember_torso(self, train: View, neutral: View) -> None:
        """Learn how the torso moves with the head, by ridge regression through the neutral frame."""
        pose = torso_pose(train.head) - torso_pose(neutral.head)
        self.pose_low.copy_(pose.amin(0))
        self.pose_high.copy_(pose.amax(0))
        moved = (train.torso_motion - neutral.torso_motion).flatten(1)
        shift = torch.zeros_like(train.head.translation)
        if train.head.torso_translation is not None and neutral.head.torso_translation is not None:
            shift = train.head.torso_translation - neutral.head.torso_translation
        prior = RESPONSE_PRIOR**2 * torch.eye(6, dtype=torch.double, device=pose.device)
        normal = pose.double().T @ pose.double() / len(pose) + prior / len(pose)
        right = pose.double().T @ torch.cat([moved, shift], 1).double() / len(pose)
        self.torso_response.copy_(torch.linalg.solve(normal, right).T)

    def driven(self, identity: Tensor, mean_pose: Tensor, head_model: HeadModel) -> DrivenAvatar:
        """What a transfer has to know of the avatar, on the CPU.

        Args:
            identity: ``[I]`` of the person.
            mean_pose: ``[6]`` mean of training: rotation against the torso in radians, translation in
                decimetres.
            head_model: the avatar's.
        """
        turn = axis_angle_to_matrix(mean_pose[:3])
        lowest, highest = (float(value) for value in head_model.asset.expression_range)
        limits = ExpressionRange(
            neutral=self.expression,
            axes=self.expression_axes,
            low=self.axis_low.clamp(max=0),
            high=self.axis_high.clamp_min(0),
            least=self.expression_low.clamp(max=lowest),
            greatest=self.expression_high.clamp_min(highest),
        )
        return DrivenAvatar(
            view=replace(self.view(identity), rig=HeadRig.of(head_model, identity)).to("cpu"),
            mean_rotation=(self.torso_rotation @ turn if self.has_torso_pose else turn).cpu(),
            mean_translation=(mean_pose[3:] / 10).cpu(),
            expression_names=list(head_model.asset.expression_names),
            limits=ExpressionRange(**{name: value.cpu() for name, value in vars(limits).items()}),
            torso_response=self.torso_response.cpu(),
            pose_low=self.pose_low.cpu(),
            pose_high=self.pose_high.cpu(),
        )

    def view(self, identity: Tensor) -> View:
        """The default view (F = 1) of a person's identity ``[I]``; the head does not turn."""
        head = HeadParameters(
            identity=identity.clone(),
            **{name: getattr(self, name)[None].clone() for name in HEAD_BUFFERS},
        )
        if not self.has_torso_pose:
            head.torso_rotation = head.torso_translation = None
        width, height = self.width_and_height.tolist()
        camera = Camera(self.intrinsics[None].clone(), self.camera_to_world[None].clone(), width, height)
        return View(camera, head, self.torso_motion[None].clone())


def neutral_frame(train: View, head_model: HeadModel) -> int:
    """The frame that faces its camera most, of the tenth of the frames with the least expression.

    A frame's expression is the sum of its coefficients' largest vertex displacements, metres.
    """
    strength = head_model.expression_basis.norm(dim=-1).amax(1).to(train.head.expression)
    expression = (train.head.expression.abs() * strength).sum(1)
    calm = expression.argsort(stable=True)[: math.ceil(len(expression) / NEUTRAL_SHARE)]
    forward = train.head.rotation[calm, :, 2]
    to_camera = train.camera.camera_to_world[calm, :, 3] - train.head.translation[calm]
    facing = torch.cosine_similarity(forward, to_camera, dim=1)
    return int(calm[facing.argmax()])


def _fill_in_range(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Give a checkpoint of before they were kept the axes of the coefficients and a torso that stays."""
    own = dict(module.named_buffers())
    known = {name: state.get(prefix + name) for name in ("expression", "expression_low", "expression_high")}
    neutral, low, high = known.values()
    if prefix + "expression_axes" in state or neutral is None or low is None or high is None:
        return
    for name in ("expression_axes", "torso_response", "pose_low", "pose_high"):
        state[prefix + name] = torch.zeros_like(own[name])
    state[prefix + "expression_axes"] = torch.eye(len(neutral))
    state[prefix + "axis_low"] = low - neutral
    state[prefix + "axis_high"] = high - neutral
