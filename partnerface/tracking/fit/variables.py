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
from partnerface.head_models.landmark_geometry import LinearPoints

INITIAL_EXPRESSION = 0.03


class FitVariables(nn.Module):
    """Identity and focal length of the clip; pose, expression and gaze of each of T frames.

    The camera stands at the origin of the world (y up) and looks along -z; the rigid pose maps head
    rest space to the world.

    Args:
        rotation: ``[T, 3]`` first guess of the head rotation, axis-angle.
        translation: ``[T, 3]`` first guess in metres.
        focal: first guess of the focal length in pixels.
        centre: principal point in pixels.
        num_identity: identity coefficients that are fitted.
        head_model: gives eye joints and the range of the expressions.
    """

    def __init__(
        self,
        rotation: Tensor,
        translation: Tensor,
        focal: float,
        centre: tuple[float, float],
        num_identity: int,
        head_model: HeadModel,
    ) -> None:
        super().__init__()
        frames, expressions = len(rotation), head_model.num_expression
        self.identity = nn.Parameter(torch.zeros(num_identity))
        self.log_focal = nn.Parameter(torch.tensor(math.log(focal)))
        self.rotation = nn.Parameter(rotation.float().clone())
        self.translation = nn.Parameter(translation.float().clone())
        self.raw_expression = nn.Parameter(torch.full((frames, expressions), INITIAL_EXPRESSION))
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
        """``[T, E]`` within the head model's range; actions no landmark can see stay 0."""
        low, high = (float(x) for x in self.head_model.asset.expression_range)
        return self.raw_expression.clamp(low, high) * self.fitted_expressions

    def rotation_matrices(self) -> Tensor:
        """``[T, 3, 3]`` head to world."""
        return axis_angle_to_matrix(self.rotation)

    def project(self, world: Tensor) -> Tensor:
        """World points ``[..., 3]`` in pixels ``[..., 2]``."""
        return perspective(world * world.new_tensor(OPENGL_TO_OPENCV), self.focal, self.centre)

    def pixels(self, points: LinearPoints, rotation: Tensor, expression: Tensor) -> Tensor:
        """``[T, N, 2]`` points that move rigidly with the head, in pixels."""
        rest = points.positions(self.identity, expression)
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
        """The fitted head, without a torso pose; identity padded to the head model's size."""
        parameters = self.head_model.neutral_parameters(len(self.rotation))
        parameters.identity[: len(self.identity)] = self.identity
        parameters.expression = self.expression.clone()
        parameters.rotation = self.rotation_matrices()
        parameters.translation = self.translation.clone()
        for joint in self.eye_joints:
            parameters.joint_rotations[:, joint] = self.eye_rotations()
        return parameters


def fitted_expressions(head_model: HeadModel) -> Tensor:
    """``[E]`` 1 for the actions that are visible in pictures of a face, 0 for the others (the tongue)."""
    return torch.tensor([float(name != "tongueOut") for name in head_model.asset.expression_names])


def similarity_alignment(source: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least-squares similarity transforms from one point set onto many (Umeyama 1991).

    Args:
        source: ``[K, 3]``.
        targets: ``[F, K, 3]``.

    Returns:
        Rotation ``[F, 3, 3]``, scale ``[F]`` and offset ``[F, 3]`` with
        ``targets ~ scale * rotation @ source + offset``. The rotation is proper.
    """
    source_mean, target_mean = source.mean(0), targets.mean(1)
    centred = source - source_mean
    u, singular, vh = torch.linalg.svd((targets - target_mean[:, None]).transpose(1, 2) @ centred)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.det(u @ vh)
    rotation = u @ torch.diag_embed(sign) @ vh
    scale = (singular * sign).sum(1) / centred.square().sum()
    return rotation, scale, target_mean - scale[:, None] * (rotation @ source_mean)


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
