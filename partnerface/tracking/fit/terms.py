"""Terms of the tracker's fit: free functions that return a scalar.

Distances are in pixels of a picture whose face is as high as in a 512-pixel head crop, so that one
set of weights serves every resolution. Frames are averaged with weights: 0 where no face was found.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from partnerface.data.completion.torso_motion import REFERENCE_INTERVAL_S

JAW_ASIDE = 20.0
"""How much stiffer a jaw is sideways than it opens."""


def pseudo_huber(residual: Tensor, width: float) -> Tensor:
    """Quadratic (half the square) near zero, linear beyond ``width``."""
    return ((1 + (residual / width) ** 2).sqrt() - 1) * width**2


def geman_mcclure(residual: Tensor, width: float) -> Tensor:
    """Quadratic (half the square) near zero, constant far beyond ``width``: far targets do not pull."""
    return 0.5 * residual**2 / (1 + (residual / width) ** 2)


def frame_mean(values: Tensor, frame_weights: Tensor) -> Tensor:
    """Weighted mean of per-frame values ``[T]``."""
    return (values * frame_weights).sum() / frame_weights.sum()


def landmark_term(residual: Tensor, landmark_weights: Tensor, frame_weights: Tensor) -> Tensor:
    """Distances ``[T, K, 2]`` of projected to detected landmarks."""
    robust = pseudo_huber(torch.linalg.vector_norm(residual, dim=-1), 3.0)
    return frame_mean(robust @ landmark_weights, frame_weights)


def opening_term(residual: Tensor, pairs: Tensor, frame_weights: Tensor) -> Tensor:
    """Openings of lids and lips: differences of residuals ``[T, K, 2]`` of paired landmarks ``[N, 2]``."""
    opening = residual[:, pairs[:, 0]] - residual[:, pairs[:, 1]]
    robust = pseudo_huber(torch.linalg.vector_norm(opening, dim=-1), 3.0)
    return frame_mean(robust.mean(1), frame_weights)


def range_term(raw_expression: Tensor, low: float, high: float, frame_weights: Tensor) -> Tensor:
    """Pull coefficients ``[T, E]`` back that have left their range, where clamping ends the gradient."""
    outside = (raw_expression - high).clamp_min(0) + (low - raw_expression).clamp_min(0)
    return frame_mean(outside.square().sum(1), frame_weights)


def expression_prior(expression: Tensor, frame_weights: Tensor, linear: float, square: float) -> Tensor:
    """Prefer few and small actions: each coefficient of ``[T, E]`` and its square, with these weights."""
    return frame_mean(square * expression.square().sum(1) + linear * expression.sum(1), frame_weights)


def jaw_prior(jaw: Tensor, frame_weights: Tensor) -> Tensor:
    """Prefer a closed jaw: squares of rotations ``[T, 3]`` in radians, more so of those to the sides."""
    return frame_mean((jaw.square() * jaw.new_tensor([1.0, JAW_ASIDE, JAW_ASIDE])).sum(1), frame_weights)


def score_term(expression: Tensor, scores: Tensor, gain: Tensor, frame_weights: Tensor) -> Tensor:
    """Follow the change of the detector's blendshape scores ``[T, E]`` over time, not their level.

    A score's level carries an offset that belongs to the person's face at rest, so both sides are centred
    over the valid frames; a ``gain`` per action ``[E]`` absorbs differences of scale.
    """
    share = frame_weights[:, None] / frame_weights.sum()
    centred = expression - (expression * share).sum(0)
    return frame_mean((centred - gain.clamp(0, 2) * scores).square().sum(1), frame_weights)


def second_difference(values: Tensor, times: Tensor) -> Tensor:
    """``[T - 2, ...]`` acceleration of ``values`` ``[T, ...]`` at ``times`` ``[T]`` in seconds.

    Scaled so that it equals the plain second difference at 25 frames per second.
    """
    step = times.diff().reshape(-1, *([1] * (values.dim() - 1)))
    velocity = values.diff(dim=0) / step
    return 2 * velocity.diff(dim=0) / (step[1:] + step[:-1]) * REFERENCE_INTERVAL_S**2


def smoothness_term(values: Tensor, times: Tensor, width: float = math.inf) -> Tensor:
    """Mean squared acceleration of a per-frame variable ``[T, n]`` at ``times`` ``[T]`` in seconds.

    Missed frames are included: they are bridged. Beyond ``width`` an acceleration costs no longer by its
    square but linearly (pseudo-Huber): jitter at rest is held, a head that is shaken is not flattened.
    """
    if len(times) < 3:
        return times.new_zeros(())
    squared = second_difference(values, times).square().sum(1)
    if math.isfinite(width):
        squared = 2 * width**2 * ((1 + squared / width**2).sqrt() - 1)
    return squared.mean()
