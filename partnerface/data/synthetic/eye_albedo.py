"""Eyes: sclera, iris, limbus and pupil by the angle from the eye's axis."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.data.synthetic.subject import SyntheticSubject
from partnerface.data.synthetic.value_noise import smooth_step, value_noise

IRIS_ANGLE = 0.45
PUPIL_ANGLE = 0.17
"""Radii in radians: an iris of 5.4 mm on an eyeball of 12 mm."""

SCLERA = (0.86, 0.83, 0.80)
PUPIL = (0.02, 0.02, 0.02)


def axis_angle_from_pupil(offsets: Tensor) -> Tensor:
    """``[N]`` angle in radians between offsets ``[N, 3]`` from the eye joint and the eye's axis (+z)."""
    direction = functional.normalize(offsets, dim=-1)
    return torch.acos(direction[:, 2].clamp(-1, 1))


def eye_albedo(offsets: Tensor, subject: SyntheticSubject) -> Tensor:
    """``[N, 3]`` albedo of an eyeball at offsets ``[N, 3]`` from its joint, at rest."""
    angle = axis_angle_from_pupil(offsets)
    around = torch.atan2(offsets[:, 1], offsets[:, 0])
    fibres = value_noise(torch.stack([around * 9, angle * 14, torch.zeros_like(angle)], -1), 12)
    iris = torch.tensor(subject.iris) * (0.75 + 0.45 * fibres)[:, None]
    # The sclera darkens towards the corners, in the shade of the lids.
    sclera = torch.tensor(SCLERA) * (1 - 0.25 * (angle - 0.5).clamp(0, 1))[:, None]
    inside = smooth_step(IRIS_ANGLE + 0.02, IRIS_ANGLE - 0.02, angle)[:, None]
    albedo = sclera * (1 - inside) + iris * inside
    limbus = torch.exp(-(((angle - IRIS_ANGLE + 0.01) / 0.04) ** 2))[:, None]
    albedo = albedo * (1 - 0.6 * limbus)
    pupil = smooth_step(PUPIL_ANGLE + 0.015, PUPIL_ANGLE - 0.015, angle)[:, None]
    return albedo * (1 - pupil) + torch.tensor(PUPIL) * pupil
