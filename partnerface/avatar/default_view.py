"""DefaultView: what a picture needs that does not come from a dataset; saved with the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partnerface.cameras.pinhole import Camera
from partnerface.data.view import View
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters

HEAD_BUFFERS = (
    *("expression", "joint_rotations", "rotation", "translation"),
    *("torso_rotation", "torso_translation"),
)
"""Head parameters of the default view that are saved, beside the identity."""


class DefaultView(nn.Module):
    """The view of the training frame with the least expression, and the range of training expressions.

    Args:
        head_model: the head model of the avatar.

    Attributes:
        expression_low: ``[E]`` least expression coefficients in training.
        expression_high: ``[E]`` greatest.
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

    def remember(self, train: View, head_model: HeadModel) -> None:
        """Take neutral frame and range from the views of the training frames."""
        strength = head_model.expression_basis.norm(dim=-1).amax(1).to(train.head.expression.device)
        neutral = int((train.head.expression.abs() * strength).sum(1).argmin())
        frame, camera, head = train.select([neutral]), train.camera, train.head
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
