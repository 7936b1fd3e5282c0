"""The hair cap and the shirt of the embedded subjects."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from partnerface.data.synthetic.face_coordinates import smooth_step, value_noise
from partnerface.data.synthetic.subject import HairStyle, SyntheticSubject

EAR_CENTRE = (-0.012, -0.085)
EAR_RADII = (0.042, 0.022)


def hair_coverage(points: Tensor, style: HairStyle, softness: float = 0.004) -> Tensor:
    """How much hair grows at face coordinates ``[..., 3]``: ``[...]`` in [0, 1].

    Args:
        points: places on the skin.
        style: shape of the hair.
        softness: half width of the hair line in metres.
    """
    x, y, z = points.unbind(-1)
    line = (
        style.hairline - style.recession * (x.abs() - 0.035).clamp_min(0) - 0.9 * (-0.03 - z).clamp(0, 0.05)
    )
    crown = smooth_step(-softness, softness, y - line) * (y > 0)
    temple = smooth_step(-softness, softness, y - 0.017 + 0.1 * (z + 0.06))
    temple = temple * smooth_step(softness, -softness, z + 0.030)
    sideburn = smooth_step(-softness, softness, y - style.sideburn_end)
    sideburn = sideburn * smooth_step(softness, -softness, z + 0.046 + 0.25 * (0.02 - y).clamp_min(0))
    back = smooth_step(-softness, softness, y - style.nape_end) * smooth_step(softness, -softness, z + 0.080)
    coverage = torch.stack([crown, temple, sideburn, back]).amax(0)
    # The face itself and the ears stay free.
    ear = ((z - EAR_CENTRE[1]) / EAR_RADII[1]) ** 2 + ((y - EAR_CENTRE[0]) / EAR_RADII[0]) ** 2
    return coverage * smooth_step(1.0, 1.35, ear) * ((z < 0.02) | (y > 0.045))


def hair_thickness(points: Tensor, style: HairStyle) -> Tensor:
    """``[...]`` metres of hair above the skin at face coordinates ``[..., 3]``; thin at its edge."""
    lumps = 0.5 + 0.5 * value_noise(points * 60, 1)
    coverage = hair_coverage(points - torch.tensor([0.0, 0.004, 0.0]), style, softness=0.010)
    return coverage * (style.volume + style.lumpiness * lumps)


def hair_strands(points: Tensor) -> Tensor:
    """Brightness of the strands at face coordinates ``[..., 3]``: ``[...]`` in [-1, 1].

    Strands run down from the crown, so noise is stretched along the direction away from it.
    """
    x, y, z = points.unbind(-1)
    angle = torch.atan2(x, z + 0.07)
    locks = value_noise(torch.stack([angle * 40, y * 45, z * 25], -1), 9)
    strands = value_noise(torch.stack([angle * 130, y * 80, z * 60], -1), 10)
    return 0.5 * locks + 0.5 * strands


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
