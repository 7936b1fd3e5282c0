"""The nearest-training-frame baseline: replay the training frame whose tracked parameters are nearest.

A method that does not beat it on a split has shown nothing there.
"""

from __future__ import annotations

import torch
from torch import Tensor

HEAD_RADIUS = 0.1
"""Metres: a turn by an angle moves the surface of the head by about this times the angle."""


def expression_reach(expression_basis: Tensor) -> Tensor:
    """``[E]`` metres: the largest displacement by one unit of each coefficient of a basis ``[E, V, 3]``."""
    return expression_basis.norm(dim=-1).amax(1)


def nearest_training_frames(
    queries: list[int],
    train: list[int],
    rotation: Tensor,
    translation: Tensor,
    expression: Tensor,
    reach: Tensor,
) -> list[int]:
    """For each query the training frame with the nearest parameters; images are not looked at.

    All three parts of the distance are in metres on the head's surface: the turn between the two
    rotations times a head's radius, the shift, and each expression coefficient's difference times
    the largest displacement that it causes.

    Args:
        queries: frames to replace.
        train: frames to choose from, not empty.
        rotation: ``[T, 3, 3]`` rigid head rotation.
        translation: ``[T, 3]`` metres.
        expression: ``[T, E]``.
        reach: ``[E]`` metres, see `expression_reach`.

    Returns:
        One frame of ``train`` for each query.
    """
    parts = (
        # |A - B| (Frobenius) of two rotations is sqrt(2) times their angle, for small angles.
        rotation.flatten(1) * (HEAD_RADIUS / 2**0.5),
        translation,
        expression * reach,
    )
    places = torch.cat([part.detach().double() for part in parts], 1)
    distance = torch.cdist(places[queries], places[train], compute_mode="donot_use_mm_for_euclid_dist")
    return [train[nearest] for nearest in distance.argmin(1).tolist()]
