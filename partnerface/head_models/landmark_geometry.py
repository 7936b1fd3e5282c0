"""The head model restricted to its landmarks: a small linear model of a few hundred points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.mediapipe_landmarks import EYES, FACE_OVAL, LIPS

MAX_SPREAD_MM = 3.0
"""Landmarks whose place on the head model scatters more are not used."""

OVAL_WEIGHT, LIPS_AND_EYES_WEIGHT = 0.6, 3.0


@dataclass
class LinearPoints:
    """N points of a head model as a linear function of identity and expression, in head rest space.

    Attributes:
        template: ``[N, 3]`` metres.
        identity_basis: ``[I, N, 3]``.
        expression_basis: ``[E, N, 3]``.
    """

    template: Tensor
    identity_basis: Tensor
    expression_basis: Tensor

    def positions(self, identity: Tensor, expression: Tensor) -> Tensor:
        """``[F, N, 3]`` for an identity ``[<=I]`` and expressions ``[F, E]``."""
        neutral = self.template + torch.tensordot(identity, self.identity_basis[: len(identity)], 1)
        flat = expression @ self.expression_basis.flatten(1)
        return neutral + flat.unflatten(1, (-1, 3))

    def select(self, index: Tensor) -> LinearPoints:
        """The points at ``index``."""
        return LinearPoints(
            self.template[index], self.identity_basis[:, index], self.expression_basis[:, index]
        )


@dataclass
class LandmarkGeometry:
    """Landmarks whose place on the head model is well known.

    Attributes:
        numbers: ``[K]`` the detector's landmark numbers, increasing.
        points: their positions on the head.
        weights: ``[K]`` weights in the fit, sum to one.
    """

    numbers: np.ndarray
    points: LinearPoints
    weights: Tensor

    def rows(self, numbers: tuple[int, ...]) -> list[int]:
        """Rows of the given landmark numbers, in their order; numbers that are not here are left out."""
        row = {int(number): i for i, number in enumerate(self.numbers)}
        return [row[number] for number in numbers if number in row]


def vertex_points(head_model: HeadModel, vertices: Tensor) -> LinearPoints:
    """Vertices of the head model, joints at rest."""
    return LinearPoints(
        head_model.template_vertices[vertices],
        head_model.identity_basis[:, vertices],
        head_model.expression_basis[:, vertices],
    )


def landmark_geometry(head_model: HeadModel) -> LandmarkGeometry:
    """Landmarks of a head model's embedding whose spread is 3 mm or less.

    Weights fall with the spread; lips and eyes count three times, the face oval, which slides over
    the cheek as the head turns, 0.6 times.
    """
    asset = head_model.asset
    numbers = np.flatnonzero(asset.landmark_spread <= MAX_SPREAD_MM)
    corners = head_model.faces[torch.as_tensor(asset.landmark_faces[numbers].astype(np.int64))]
    share = torch.as_tensor(asset.landmark_barycentric[numbers], dtype=torch.float32)[..., None]

    def interpolate(attributes: Tensor) -> Tensor:
        return (attributes[..., corners, :] * share).sum(-2)

    points = LinearPoints(
        interpolate(head_model.template_vertices),
        interpolate(head_model.identity_basis),
        interpolate(head_model.expression_basis),
    )
    weights = 1 / (1 + asset.landmark_spread[numbers] ** 2 / 2)
    weights[np.isin(numbers, FACE_OVAL)] *= OVAL_WEIGHT
    weights[np.isin(numbers, LIPS + EYES)] *= LIPS_AND_EYES_WEIGHT
    return LandmarkGeometry(numbers, points, torch.as_tensor(weights / weights.sum(), dtype=torch.float32))
