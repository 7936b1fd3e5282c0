"""FitVariables: what the tracker's fit optimises, for all frames of a clip at once; poses to start from."""

from __future__ import annotations

import math

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor, nn

from partnerface.cameras.pinhole import OPENGL_TO_OPENCV, perspective
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_geometry import LinearPoints, landmark_geometry
from partnerface.head_models.similarity import similarity_alignment

INITIAL_EXPRESSION = 0.03
LEAST_MOTION_M = 2e-4
"""An expression that moves no landmark farther is not fitted."""


class FitVariables(nn.Module):
    """Identity and focal length of the clip; pose, expression and gaze of each of T frames.

    The camera stands at the origin of the world (y up) and looks along -z; the rigid pose maps head
    rest space to the world.

    Args:
        rotation: ``[T, 3]`` first guess of the head rotation, axis-angle.
        translation: ``[T, 3]`` first guess in metres.
        focal: first guess of the focal length in pixels.
        centre: principal point in pixels.
        head_model: gives the number of identity coefficients, eye joints and the range of the expressions.
    """

    def __init__(
        self,
        rotation: Tensor,
        translation: Tensor,
        focal: float,
        centre: tuple[float, float],
        head_model: HeadModel,
    ) -> None:
        super().__init__()
        frames, expressions = len(rotation), head_model.num_expression
        self.identity = nn.Parameter(torch.zeros(head_model.num_identity))
        self.log_focal = nn.Parameter(torch.tensor(math.log(focal)))
        self.rotation = nn.Parameter(rotation.float().clone())
        self.translation = nn.Parameter(translation.float().clone())
        low, high = (float(x) for x in head_model.asset.expression_range)
        self.unit = expression_unit(head_model)
        self.range = low / self.unit, high / self.unit
        # Without a sign, coefficients at rest start inside their range, where clamping keeps the gradient.
        start = INITIAL_EXPRESSION if low == 0 else 0.0
        self.raw_expression = nn.Parameter(torch.full((frames, expressions), start))
        self.jaw_joint = head_model.jaw_joint
        self.jaw = nn.Parameter(torch.zeros(frames, 3)) if self.jaw_joint is not None else None
        self.gaze = nn.Parameter(torch.zeros(frames, 2))
        self.score_gain = nn.Parameter(torch.ones(expressions))
        self.head_model = head_model
        self.register_buffer("centre", torch.tensor(centre))
        self.register_buffer("fitted_expressions", fitted_expressions(head_model))
        self.eye_joints = [head_model.joint("eye_left"), head_model.joint("eye_right")]
        eye = head_model.template_vertices[head_model.faces[head_model.part_faces("eye_left")].unique()]
        # Distance of the cornea from the eye joint, metres.
        self.eye_radius = float((eye[:, 2] - head_model.template_joints[self.eye_joints[0], 2]).max())

    @property
    def focal(self) -> Tensor:
        return self.log_focal.exp()

    @property
    def expression(self) -> Tensor:
        """``[T, E]`` within the head model's range; expressions that no landmark can see stay 0."""
        return self.unit * self.shares_of_expression

    @property
    def shares_of_expression(self) -> Tensor:
        """``[T, E]`` expression coefficients as shares of the greatest."""
        return self.raw_expression.clamp(*self.range) * self.fitted_expressions

    def jaw_matrices(self) -> Tensor | None:
        """``[T, 3, 3]`` rotation of the jaw's joint, None where none opens the mouth."""
        return None if self.jaw is None else axis_angle_to_matrix(self.jaw)

    def rest_points(self, points: LinearPoints, expression: Tensor, frames: slice = slice(None)) -> Tensor:
        """``[F, N, 3]`` points under the expressions ``[F, E]`` of some frames, in head rest space."""
        jaw = None if self.jaw is None else axis_angle_to_matrix(self.jaw[frames])
        return points.positions(self.identity, expression, jaw)

    def rotation_matrices(self) -> Tensor:
        """``[T, 3, 3]`` head to world."""
        return axis_angle_to_matrix(self.rotation)

    def project(self, world: Tensor) -> Tensor:
        """World points ``[..., 3]`` in pixels ``[..., 2]``."""
        return perspective(world * world.new_tensor(OPENGL_TO_OPENCV), self.focal, self.centre)

    def pixels(self, points: LinearPoints, rotation: Tensor, expression: Tensor) -> Tensor:
        """``[T, N, 2]`` points that move rigidly with the head, in pixels."""
        rest = self.rest_points(points, expression)
        return self.project(rest @ rotation.transpose(1, 2) + self.translation[:, None])

    def iris_pixels(self, rotation: Tensor) -> Tensor:
        """``[T, 2, 2]`` centres of the left and the right iris in pixels."""
        eyes = self.head_model.identity_joints(self.identity)[self.eye_joints]
        forward = self.eye_rotations()[:, :, 2] * self.eye_radius
        rest = eyes + forward[:, None]
        return self.project(rest @ rotation.transpose(1, 2) + self.translation[:, None])

    def eye_rotations(self) -> Tensor:
        """``[T, 3, 3]`` rotation of both eyes in the head."""
        return axis_angle_to_matrix(torch.cat([self.gaze, torch.zeros_like(self.gaze[:, :1])], 1))

    @torch.no_grad()
    def head_parameters(self) -> HeadParameters:
        """The fitted head, without a torso pose."""
        parameters = self.head_model.neutral_parameters(len(self.rotation))
        parameters.identity = self.identity.clone()
        parameters.expression = self.expression.clone()
        parameters.rotation = self.rotation_matrices()
        parameters.translation = self.translation.clone()
        for joint in self.eye_joints:
            parameters.joint_rotations[:, joint] = self.eye_rotations()
        if self.jaw_joint is not None:
            parameters.joint_rotations[:, self.jaw_joint] = self.jaw_matrices()
        return parameters


def expression_unit(head_model: HeadModel) -> float:
    """Greatest coefficient of an expression: 1 for actions, several standard deviations of FLAME's."""
    return float(np.abs(head_model.asset.expression_range).max())


def fitted_expressions(head_model: HeadModel) -> Tensor:
    """``[E]`` 1 for expressions that move a landmark, 0 for others: tongue and pupils."""
    motion = landmark_geometry(head_model).points.expression_basis.norm(dim=-1).amax(1)
    return (expression_unit(head_model) * motion > LEAST_MOTION_M).float()


def eye_expressions(head_model: HeadModel) -> Tensor:
    """``[E]`` bool: expressions that move lids, by name; none of a head model without names."""
    names = head_model.asset.expression_names
    return torch.tensor([name.startswith("eye") for name in names], dtype=torch.bool)


def initial_poses(
    landmarks: Tensor, template: Tensor, focal: float, centre: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Head poses before the camera at the origin (world y up, looking along -z).

    Args:
        landmarks: ``[F, K, 3]`` detected landmarks in pixels, depth scaled like x.
        template: ``[K, 3]`` the same landmarks on the mean head, metres.
        focal: focal length in pixels.
        centre: principal point in pixels.

    Returns:
        Rotation ``[F, 3, 3]`` and translation ``[F, 3]`` in metres, in double precision.
    """
    flipped = landmarks.double() * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    template = template.double()
    rotation, scale, _ = similarity_alignment(template, flipped)
    # Scaled orthography and perspective agree at the landmarks' centroid.
    centred = flipped.mean(1)[:, :2] - torch.tensor([centre[0], -centre[1]], dtype=torch.float64)
    centroid = torch.cat([centred / scale[:, None], -(focal / scale)[:, None]], 1)
    return rotation, centroid - rotation @ template.mean(0)


def interpolate_missing(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Fill the frames of ``values`` ``[T, ...]`` that are not valid, linearly in time; ends are held."""
    frames = np.arange(len(values))
    flat = values.reshape(len(values), -1)
    filled = [np.interp(frames, frames[valid], column[valid]) for column in flat.T]
    return np.stack(filled, 1).reshape(values.shape).astype(values.dtype)
