"""Motion that the tracked expression basis cannot express: bulges, wrinkles and hair sway.

It is what a deformation field has to learn: non-linear in the expression coefficients, or moved by
inertia, and therefore not in the head parameters of the dataset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.data.synthetic.face_coordinates import smooth_step
from partnerface.head_models.head_model import HeadModel

FOREHEAD_WRINKLE_PERIOD = 0.0095
CROWS_FEET_PERIOD = 0.0065


@dataclass
class ExpressionDrive:
    """The few muscle groups that drive the fine motion, one value each for one frame, in [0, 1]."""

    brow_raise: float
    frown: float
    smile_left: float
    smile_right: float
    pucker: float
    jaw: float
    lips_apart: float

    @classmethod
    def from_expression(cls, expression: Tensor, head_model: HeadModel) -> ExpressionDrive:
        """Read the drive off the expression coefficients ``[E]`` of one frame."""

        def mean(*names: str) -> float:
            return sum(float(expression[head_model.expression_index(n)]) for n in names) / len(names)

        lips = mean("mouthUpperUpLeft", "mouthUpperUpRight") + mean(
            "mouthLowerDownLeft", "mouthLowerDownRight"
        )
        return cls(
            brow_raise=mean("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
            frown=mean("browDownLeft", "browDownRight"),
            smile_left=mean("mouthSmileLeft"),
            smile_right=mean("mouthSmileRight"),
            pucker=mean("mouthPucker"),
            jaw=mean("jawOpen"),
            lips_apart=min(1.0, 2 * mean("jawOpen") + lips + mean("mouthFunnel")),
        )


def bulge_heights(points: Tensor, drive: ExpressionDrive) -> Tensor:
    """How far muscles push the skin out at face coordinates ``[V, 3]``: ``[V]`` in metres.

    Zero at neutral; products and squares of the drive, so that no linear basis spans it.
    """

    front = smooth_step(-0.05, -0.03, points[:, 2])

    def bump(x: float, y: float, radius: float) -> Tensor:
        offset = points[:, :2] - torch.tensor([x, y])
        return front * torch.exp(-offset.square().sum(-1) / (2 * radius**2))

    height = 0.002 * drive.pucker * bump(0.0, -0.097, 0.009)
    for side, smile in ((1, drive.smile_left), (-1, drive.smile_right)):
        cheek, fold = bump(side * 0.037, -0.040, 0.010), bump(side * 0.026, -0.048, 0.005)
        hollow, glabella = bump(side * 0.044, -0.064, 0.010), bump(side * 0.006, 0.018, 0.005)
        height = height + 0.0030 * smile * (1 + 0.8 * drive.jaw) * cheek - 0.0025 * smile**2 * fold
        height = height + 0.002 * drive.frown * glabella - 0.0015 * drive.jaw * hollow
    return height


def wrinkle_slopes(points: Tensor, drive: ExpressionDrive, phase: Tensor) -> Tensor:
    """Tilt that wrinkles add to unit normals at face coordinates ``[N, 3]``: ``[N, 3]``.

    Forehead lines with the brows' raise, glabella lines with the frown, crow's feet with the smile; ``phase``
    ``[N]`` is noise that bends the lines.
    """
    x, y, z = points.unbind(-1)
    forehead = torch.exp(-(((y - 0.042) / 0.016) ** 2) - (x / 0.038) ** 2) * (z > -0.01)
    lines = torch.cos(2 * math.pi * y / FOREHEAD_WRINKLE_PERIOD + phase)
    vertical = 0.55 * drive.brow_raise * forehead * lines
    smile = torch.where(x > 0, drive.smile_left, drive.smile_right)
    crows_feet = torch.exp(-(((x.abs() - 0.053) / 0.009) ** 2) - ((y + 0.002) / 0.012) ** 2)
    fan = torch.cos(2 * math.pi * (y + 0.4 * (x.abs() - 0.05)) / CROWS_FEET_PERIOD)
    vertical = vertical + 0.45 * smile * crows_feet * fan
    glabella = torch.exp(-(((x.abs() - 0.006) / 0.003) ** 2) - ((y - 0.022) / 0.012) ** 2)
    horizontal = -0.5 * drive.frown * torch.sign(x) * glabella
    return torch.stack([horizontal, vertical, torch.zeros_like(x)], -1)


def hair_sway(head_angles: Tensor, fps: float) -> Tensor:
    """How the hair lags behind the head and hangs with gravity: ``[T, 3]`` metres in head space.

    ``head_angles`` ``[T, 3]`` are pitch, yaw and roll in radians.
    """
    rate = torch.zeros_like(head_angles)
    if len(head_angles) > 1:
        rate = torch.gradient(head_angles, spacing=1 / fps, dim=0)[0]
    sideways = -0.0015 * torch.tanh(rate[:, 1]) + 0.003 * torch.sin(head_angles[:, 2])
    backwards = -0.001 * torch.tanh(rate[:, 0]) + 0.002 * torch.sin(head_angles[:, 0])
    return torch.stack([sideways, torch.zeros_like(sideways), backwards], -1)
