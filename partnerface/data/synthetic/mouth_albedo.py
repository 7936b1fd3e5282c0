"""What lies behind the lips: teeth with gaps, tongue, mouth cavity; and the lashes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from partnerface.data.synthetic.value_noise import smooth_step, value_noise

TOOTH_WIDTH = 0.0075
FLAT_ALBEDO = {
    "tongue": (0.62, 0.29, 0.29),
    "mouth_cavity": (0.42, 0.15, 0.14),
    "lashes": (0.17, 0.11, 0.09),
}
ENAMEL = (0.88, 0.84, 0.75)


def teeth_albedo(points: Tensor) -> Tensor:
    """``[N, 3]`` albedo of the teeth at face coordinates ``[N, 3]``: enamel with dark gaps."""
    gap = smooth_step(0.80, 0.97, torch.cos(2 * math.pi * points[:, 0] / TOOTH_WIDTH))
    return torch.tensor(ENAMEL) * (1 - 0.28 * gap)[:, None]


def flat_albedo(part: str, points: Tensor) -> Tensor:
    """``[N, 3]`` albedo of a part of one colour, slightly mottled."""
    return torch.tensor(FLAT_ALBEDO[part]) * (1 + 0.12 * value_noise(points * 350, 14))[:, None]
