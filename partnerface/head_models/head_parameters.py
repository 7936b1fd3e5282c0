"""HeadParameters: everything that poses a head model, for a batch of frames, and its learned correction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor, nn

from partnerface.compute.frame_record import FrameRecord


@dataclass
class HeadParameters(FrameRecord):
    """Identity, expression and pose of one person over F frames.

    The rigid pose maps the head's rest space to the world: ``x_world = rotation @ x + translation``.
    A head tracked from a static camera turns while the shoulders stay, so the torso may have a pose
    of its own; without one it follows the rigid pose, as in FLAME.

    Attributes:
        identity: ``[I]`` identity coefficients in standard deviations, shared by all frames.
        expression: ``[F, E]`` expression coefficients.
        joint_rotations: ``[F, J, 3, 3]`` rotation of each joint relative to its parent, identity at rest.
        rotation: ``[F, 3, 3]`` rigid head rotation, head to world.
        translation: ``[F, 3]`` rigid head translation in metres.
        torso_rotation: ``[F, 3, 3]`` torso rotation, rest to world, or None.
        torso_translation: ``[F, 3]`` torso translation in metres, or None.
        angular_velocity: ``[F, 3]`` radians per second about the head's own axes, from the tracked poses of
            neighbouring frames (a changed ``rotation`` does not change it); None stands for zero.
    """

    SHARED: ClassVar = ("identity",)

    identity: Float[Tensor, " I"]
    expression: Float[Tensor, "F E"]
    joint_rotations: Float[Tensor, "F J 3 3"]
    rotation: Float[Tensor, "F 3 3"]
    translation: Float[Tensor, "F 3"]
    torso_rotation: Float[Tensor, "F 3 3"] | None = None
    torso_translation: Float[Tensor, "F 3"] | None = None
    angular_velocity: Float[Tensor, "F 3"] | None = None

    def __len__(self) -> int:
        return len(self.expression)

    @classmethod
    def neutral(cls, frames: int, identities: int, expressions: int, joints: int) -> HeadParameters:
        """Rest pose, mean identity, zero expression."""
        eye = torch.eye(3)
        return cls(
            identity=torch.zeros(identities),
            expression=torch.zeros(frames, expressions),
            joint_rotations=eye.repeat(frames, joints, 1, 1),
            rotation=eye.repeat(frames, 1, 1),
            translation=torch.zeros(frames, 3),
        )


class ParameterRefinement(nn.Module):
    """A correction of rotation, translation and expression for every frame, zero at the start.

    Applied in training only: test metrics use the tracked parameters unchanged.

    Args:
        num_frames: frames of the sequence.
        expressions: expression coefficients E.
    """

    def __init__(self, num_frames: int, expressions: int) -> None:
        super().__init__()
        self.rotation = nn.Parameter(torch.zeros(num_frames, 3))
        self.translation = nn.Parameter(torch.zeros(num_frames, 3))
        self.expression = nn.Parameter(torch.zeros(num_frames, expressions))

    def forward(self, head: HeadParameters, frame_index: Tensor) -> HeadParameters:
        """Correct the parameters of frames ``[F]``: axis-angle in radians, metres, coefficients."""
        turn = axis_angle_to_matrix(self.rotation[frame_index])
        return replace(
            head,
            rotation=turn @ head.rotation,
            translation=head.translation + self.translation[frame_index],
            expression=head.expression + self.expression[frame_index],
        )

    def size(self, frame_index: Tensor) -> Tensor:
        """A scalar for a prior: mean squared corrections in units of 0.5 degrees, 1 mm and 0.1."""
        rotation = self.rotation[frame_index] / 0.0087
        translation = self.translation[frame_index] / 0.001
        expression = self.expression[frame_index] / 0.1
        return rotation.square().mean() + translation.square().mean() + expression.square().mean()
