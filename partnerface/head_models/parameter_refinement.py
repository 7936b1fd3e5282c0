"""ParameterRefinement: small learned corrections to tracked head parameters, for training frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor, nn

from partnerface.head_models.head_parameters import HeadParameters


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
