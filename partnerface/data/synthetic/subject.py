"""SyntheticSubject: everything that distinguishes one embedded person from another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.errors import UserError

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class HairStyle:
    """Shape of the hair cap; lengths in metres, heights relative to the middle of the eyes.

    Attributes:
        hairline: height of the hair line above the middle of the forehead.
        recession: how steeply the hair line falls towards the temples.
        volume: thickness of the hair.
        lumpiness: thickness that varies from lock to lock.
        sideburn_end: height at which the sideburns end.
        nape_end: height at which the hair ends on the neck.
    """

    hairline: float
    recession: float
    volume: float
    lumpiness: float
    sideburn_end: float
    nape_end: float


@dataclass(frozen=True)
class SyntheticSubject:
    """Identity, albedo and clothes of an embedded person; colours are rgb in [0, 1].

    Attributes:
        name: name on the command line.
        identity_seed: seed of the identity coefficients.
        identity_deviation: their standard deviation.
        skin: skin albedo.
        blush: strength of the redness of cheeks and nose.
        mole: place of the mole in the frontal plane of face coordinates, metres.
        beard: strength of the beard shade.
        lips: lip albedo.
        hair: hair albedo, also of the brows.
        iris: iris albedo.
        shirt: albedo of the shirt.
        stripe: albedo of its stripes.
        background: colour behind the subject, at the top and at the bottom of the image.
        hair_style: shape of the hair.
        focal: focal length of the camera in image widths; the head's joint is about a metre away.
        supersampling: samples of a pixel along each side.
        folds: whether the face folds (`FineFace`) and acts in expressions that co-occur (`converse`), or has
            the few bulges of `bulge_heights` and talks, then gestures (`perform`).
    """

    name: str
    identity_seed: int
    identity_deviation: float
    skin: Colour
    blush: float
    mole: tuple[float, float]
    beard: float
    lips: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    stripe: Colour
    background: tuple[Colour, Colour]
    hair_style: HairStyle
    focal: float = 2.3
    supersampling: int = 2
    folds: bool = False

    def identity(self, coefficients: int) -> Tensor:
        """``[I]`` identity coefficients in standard deviations."""
        generator = torch.Generator().manual_seed(self.identity_seed)
        return torch.randn(coefficients, generator=generator) * self.identity_deviation


SUBJECTS = {
    subject.name: subject
    for subject in (
        SyntheticSubject(
            name="a",
            identity_seed=5,
            identity_deviation=0.35,
            skin=(0.80, 0.585, 0.47),
            blush=1.0,
            mole=(0.033, -0.055),
            beard=1.0,
            lips=(0.62, 0.30, 0.28),
            hair=(0.16, 0.10, 0.07),
            iris=(0.30, 0.42, 0.30),
            shirt=(0.12, 0.20, 0.34),
            stripe=(0.75, 0.72, 0.66),
            background=((0.60, 0.67, 0.74), (0.50, 0.56, 0.63)),
            hair_style=HairStyle(0.058, 1.2, 0.011, 0.006, -0.022, -0.070),
        ),
        SyntheticSubject(
            name="b",
            identity_seed=23,
            identity_deviation=0.45,
            skin=(0.90, 0.70, 0.60),
            blush=1.5,
            mole=(-0.021, -0.092),
            beard=0.0,
            lips=(0.72, 0.30, 0.31),
            hair=(0.55, 0.29, 0.13),
            iris=(0.28, 0.45, 0.62),
            shirt=(0.42, 0.12, 0.16),
            stripe=(0.30, 0.08, 0.11),
            background=((0.72, 0.68, 0.60), (0.58, 0.55, 0.49)),
            hair_style=HairStyle(0.047, 0.7, 0.018, 0.007, -0.012, -0.100),
        ),
        SyntheticSubject(
            name="c",
            identity_seed=11,
            identity_deviation=0.35,
            skin=(0.84, 0.62, 0.50),
            blush=0.8,
            mole=(-0.042, -0.030),
            beard=0.0,
            lips=(0.66, 0.31, 0.30),
            hair=(0.36, 0.33, 0.31),
            iris=(0.26, 0.34, 0.44),
            shirt=(0.20, 0.30, 0.24),
            stripe=(0.62, 0.62, 0.52),
            background=((0.58, 0.62, 0.66), (0.47, 0.50, 0.54)),
            hair_style=HairStyle(0.060, 1.0, 0.012, 0.006, -0.018, -0.080),
            focal=2.6,
            supersampling=3,
            folds=True,
        ),
    )
}


def subject_named(name: str) -> SyntheticSubject:
    """The subject of this name.

    Raises:
        UserError: there is none.
    """
    if name not in SUBJECTS:
        raise UserError(f"subject {name!r}: there is none; choose one of {', '.join(SUBJECTS)}")
    return SUBJECTS[name]
