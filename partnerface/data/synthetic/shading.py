"""Shading: spherical-harmonics irradiance, ambient occlusion and highlights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.data.synthetic.value_noise import smooth_step

LIGHT = (
    (0.62, 0.60, 0.60),
    (0.10, 0.11, 0.13),
    (0.22, 0.21, 0.20),
    (0.20, 0.17, 0.14),
    (0.04, 0.04, 0.03),
    (0.02, 0.02, 0.03),
    (0.05, 0.05, 0.05),
    (0.07, 0.06, 0.05),
    (0.02, 0.02, 0.02),
)
"""``[9, 3]`` light in the order of `harmonics`: a warm key from the front left, a cool sky."""

KEY_DIRECTION = (0.35, 0.45, 0.80)
LEAST_IRRADIANCE = 0.03


def harmonics(normals: Tensor) -> Tensor:
    """The nine second-order polynomials of unit normals ``[N, 3]``: ``[N, 9]``, constants left out.

    Source: Ramamoorthi and Hanrahan 2001: irradiance is close to quadratic in the normal.
    """
    x, y, z = normals.unbind(-1)
    return torch.stack([torch.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)


def irradiance(normals: Tensor) -> Tensor:
    """``[N, 3]`` irradiance at world normals ``[N, 3]``."""
    return (harmonics(normals) @ torch.tensor(LIGHT)).clamp_min(LEAST_IRRADIANCE)


def chin_occlusion(points: Tensor) -> Tensor:
    """``[N]`` light that reaches the neck under the chin and below it, in face coordinates."""
    _, y, z = points.unbind(-1)
    return 1 - 0.35 * smooth_step(-0.100, -0.135, y) * smooth_step(-0.09, -0.02, z) * smooth_step(
        -0.20, -0.16, y
    )


def mouth_occlusion(points: Tensor, lips_apart: float) -> Tensor:
    """``[N]`` light that reaches teeth, tongue and cavity: the less, the farther behind the lips.

    Args:
        points: ``[N, 3]`` face coordinates.
        lips_apart: 0 where the lips are closed, 1 from half open on.
    """
    opening = 0.35 + 0.65 * lips_apart
    return 0.10 + 0.80 * opening * smooth_step(-0.030, 0.022, points[:, 2])


def highlight(normals: Tensor, view: Tensor, exponent: Tensor) -> Tensor:
    """``[N]`` Blinn-Phong lobe of the key light at normals and view directions ``[N, 3]``."""
    half = functional.normalize(view + functional.normalize(torch.tensor(KEY_DIRECTION), dim=0), dim=-1)
    return (normals * half).sum(-1).clamp_min(0) ** exponent
