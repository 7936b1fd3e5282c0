"""The striped shirt."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from partnerface.data.synthetic.subject import SyntheticSubject
from partnerface.data.synthetic.value_noise import smooth_step, value_noise

CLOTH_THICKNESS = 0.006
STRIPE_PERIOD = 0.0285


def shirt_coverage(points: Tensor) -> Tensor:
    """How far face coordinates ``[..., 3]`` lie inside the shirt: ``[...]`` in [0, 1]."""
    x, y, z = points.unbind(-1)
    collar = 0.165 - 0.25 * (-0.05 - z).clamp(-0.02, 0.1) - 0.35 * (x.abs() - 0.05).clamp_min(0)
    return smooth_step(0.004, -0.004, y + collar)


def shirt_thickness(points: Tensor) -> Tensor:
    """``[...]`` metres of cloth above the skin, with folds."""
    return shirt_coverage(points) * (CLOTH_THICKNESS + 0.0015 * value_noise(points * 40, 2))


def shirt_albedo(points: Tensor, subject: SyntheticSubject) -> Tensor:
    """``[N, 3]`` albedo of cloth and stripes at face coordinates ``[N, 3]``."""
    phase = torch.cos(2 * math.pi * points[:, 1] / STRIPE_PERIOD)
    stripe = smooth_step(0.62, 0.82, phase)[:, None]
    cloth = torch.tensor(subject.shirt) * (1 - stripe) + torch.tensor(subject.stripe) * stripe
    wear = 1 + 0.10 * value_noise(points * 70, 11) + 0.04 * value_noise(points * 700, 13)
    return cloth * wear[:, None]
