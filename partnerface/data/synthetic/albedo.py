"""Appearance of the embedded subjects: colours of eyes, mouth and skin, light, occlusion and highlights."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.data.synthetic.dressed_head import (
    hair_coverage,
    hair_strands,
    shirt_albedo,
    shirt_coverage,
)
from partnerface.data.synthetic.face_coordinates import smooth_step, value_noise
from partnerface.data.synthetic.subject import SyntheticSubject

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


BROW_INNER, BROW_OUTER = 0.011, 0.053


def skin_albedo(points: Tensor, lips: Tensor, subject: SyntheticSubject) -> Tensor:
    """``[N, 3]`` albedo of the skin at face coordinates ``[N, 3]`` with all that is painted on it.

    ``lips`` ``[N]`` is 1 on the lips and 0 off them.
    """
    albedo = _beard(points, _complexion(points, subject), subject)
    grain = 1 + 0.10 * value_noise(points * torch.tensor([900.0, 300.0, 300.0]), 7)
    albedo = _over(albedo, torch.tensor(subject.lips) * grain[:, None], lips)
    albedo = _over(albedo, torch.tensor(subject.hair) * 0.9, 0.92 * brow_coverage(points))
    strands = hair_strands(points)
    hair = hair_coverage(points, subject.hair_style)
    hair = (hair + 0.25 * strands * (hair > 0.02)).clamp(0, 1)
    albedo = _over(albedo, torch.tensor(subject.hair) * (1 + 0.7 * strands)[:, None], hair)
    shirt = smooth_step(0.35, 0.65, shirt_coverage(points))
    return _over(albedo, shirt_albedo(points, subject), shirt)


def _over(below: Tensor, above: Tensor, coverage: Tensor) -> Tensor:
    return below + coverage[:, None] * (above - below)


def _complexion(points: Tensor, subject: SyntheticSubject) -> Tensor:
    x, y, z = points.unbind(-1)
    mottle = 1 + 0.04 * value_noise(points * 700, 3) + 0.05 * value_noise(points * 180, 4)
    cheeks = torch.exp(-((x.abs() - 0.040) ** 2 + (y + 0.038) ** 2) / (2 * 0.014**2))
    nose = torch.exp(-(x**2 + (y + 0.030) ** 2) / (2 * 0.011**2)) * (z > 0.01)
    red = subject.blush * (cheeks + 0.8 * nose) + 0.5 * value_noise(points * 45, 5).clamp_min(0)
    socket = torch.exp(-(((x.abs() - 0.029) / 0.018) ** 2) - ((y + 0.016) / 0.007) ** 2)
    mole = smooth_step(0.0022, 0.0014, (points[:, :2] - torch.tensor(subject.mole)).norm(dim=1)) * (z > -0.02)
    tone = (mottle * (1 - 0.14 * socket) * (1 - 0.6 * mole))[:, None]
    return torch.tensor(subject.skin) * tone * (1 - red[:, None] * torch.tensor([0.0, 0.10, 0.10]))


def _beard(points: Tensor, albedo: Tensor, subject: SyntheticSubject) -> Tensor:
    _, y, z = points.unbind(-1)
    area = smooth_step(0.0, 0.012, -0.058 - y) * smooth_step(-0.07, -0.03, z) * smooth_step(-0.135, -0.11, y)
    stubble = subject.beard * area * (0.16 + 0.08 * value_noise(points * 900, 6))
    return albedo * (1 - stubble)[:, None]


def brow_coverage(points: Tensor) -> Tensor:
    """``[N]`` density of the brows, in [0, 1]: an arc above each eye, thinner towards the temple."""
    x, y, z = points.unbind(-1)
    along = (x.abs() - BROW_INNER) / (BROW_OUTER - BROW_INNER)
    bounded = along.clamp(0, 1)
    arc = 0.0170 + 0.0070 * torch.sin((bounded * 0.75 + 0.1) * math.pi)
    half_width = 0.0045 * (1 - 0.5 * bounded)
    arch = torch.exp(-(((y - arc) / half_width) ** 4))
    ends = smooth_step(-0.12, 0.05, along) * smooth_step(1.12, 0.92, along) * (z > -0.025)
    hairs = torch.stack([(x.abs() + y) * 600, y * 250, torch.zeros_like(y)], -1)
    return (arch * ends * (0.68 + 0.32 * value_noise(hairs, 8))).clamp(0, 1)


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

    ``lips_apart`` is 0 where the lips are closed and 1 from half open on.
    """
    opening = 0.35 + 0.65 * lips_apart
    return 0.10 + 0.80 * opening * smooth_step(-0.030, 0.022, points[:, 2])


def highlight(normals: Tensor, view: Tensor, exponent: Tensor) -> Tensor:
    """``[N]`` Blinn-Phong lobe of the key light at normals and view directions ``[N, 3]``."""
    half = functional.normalize(view + functional.normalize(torch.tensor(KEY_DIRECTION), dim=0), dim=-1)
    return (normals * half).sum(-1).clamp_min(0) ** exponent
