"""Animation: a performance as morph weights and the joints of a skeleton, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.linear_blend_skinning import transform_points


@dataclass
class Animation:
    """The skeleton and the morph targets over F frames, in the space of the file.

    Attributes:
        fps: frames per second.
        expression: ``[F, E]`` weights of the morph targets.
        joints: ``[F, J, 3, 4]`` each joint's axes and place relative to its parent, metres.
    """

    fps: float
    expression: Float[Tensor, "F E"]
    joints: Float[Tensor, "F J 3 4"]


def animation_of(
    head_model: HeadModel, heads: Iterable[HeadParameters], fps: float, reference: HeadParameters
) -> Animation:
    """The animation of a performance (F = 1 each), in the space where the torso of ``reference`` is at rest.

    A head without a torso pose is placed by its rigid pose.

    Raises:
        UserError: the heads are of another head model, or there are none.
    """
    expressions, joints, origin = [], [], torch.linalg.inv(_torso_pose(reference))
    for head in heads:
        if head.expression.shape[1] != head_model.num_expression:
            raise UserError(
                f"--driver: has {head.expression.shape[1]} expressions, but the avatar's head model "
                f"{head_model.asset.name} has {head_model.num_expression}; track it with the same head model"
            )
        places = head_model.identity_joints(head.identity)
        transforms = head_model.joint_transforms(head, places[None])[0]
        # A joint's transform maps rest to world; with its place as origin it is the node's own.
        centred = torch.cat([transforms[..., :3], transform_points(transforms, places)[..., None]], -1)
        world = origin @ _square(centred)
        local = [
            world[j] if parent < 0 else torch.linalg.inv(world[parent]) @ world[j]
            for j, parent in enumerate(head_model.parents)
        ]
        expressions.append(head.expression[0])
        joints.append(torch.stack(local)[:, :3])
    if not expressions:
        raise UserError("--driver: has no frames")
    return Animation(fps, torch.stack(expressions), torch.stack(joints))


def _torso_pose(head: HeadParameters) -> Tensor:
    """``[4, 4]`` rest to world."""
    if head.torso_rotation is None or head.torso_translation is None:
        return _square(torch.cat([head.rotation[0], head.translation[0, :, None]], -1))
    return _square(torch.cat([head.torso_rotation[0], head.torso_translation[0, :, None]], -1))


def _square(transforms: Tensor) -> Tensor:
    """``[..., 4, 4]`` of transforms ``[..., 3, 4]``."""
    row = transforms.new_tensor([0, 0, 0, 1.0]).expand(*transforms.shape[:-2], 1, 4)
    return torch.cat([transforms, row], -2)
