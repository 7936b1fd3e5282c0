"""FineFace: a face that folds: bulges, hollows and creases of ten regions, each driven by a few actions.

Places and drivers follow the Facial Action Coding System (Ekman and Friesen 1978): which muscle raises, draws
together or hollows which part of the skin. No linear basis of the expression coefficients spans the motion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.data.synthetic.face_coordinates import smooth_step, value_noise
from partnerface.head_models.head_model import HeadModel

DEAD_ZONE = 0.12
"""Below this, a threshold action does not fold the skin."""

CREASE_SHARPNESS = 3
CREASE_BEND = 0.9
"""Radians by which noise bends the lines of creases."""

NARROW = 0.004
"""Hollows with a smaller radius than this, metres, are creases: they shade themselves."""

CREASE_SHADE = 0.2
"""Light that is lost for each millimetre of a crease's depth, as an exponent."""

MIDLINE = 0.003
"""Half the width in metres of the middle of the face, where the folds of both sides meet."""

REGION_CORE = 0.3
"""A region is where the envelope of one of its folds exceeds this."""


@dataclass(frozen=True)
class Fold:
    """One bulge, hollow or set of creases, as a height over the skin in an elliptical envelope.

    Places are in the frontal plane of face coordinates on the left side of the face (x > 0), metres.

    Attributes:
        region: name of the part of the face.
        driver: the activation that it follows, a key of `activations`.
        height: millimetres at an activation of 1; negative inwards.
        centre: middle of the envelope.
        radii: standard deviations along its two axes.
        angle: from x to its first axis, radians.
        drag: motion along the skin for each unit of height, outwards and upwards.
        period: distance between creases across the first axis, metres; 0 for a smooth fold.
        bow: how creases bend along the first axis, 1/m.
        fan: how creases spread along the first axis, 1/m.
        paired: there is one on each side of the face, with drivers of its side.
    """

    region: str
    driver: str
    height: float
    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0
    drag: tuple[float, float] = (0.0, 0.0)
    period: float = 0.0
    bow: float = 0.0
    fan: float = 0.0
    paired: bool = True

    def envelope(self, points: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Envelope in [0, 1] and height profile, ``[N]`` each, at face coordinates ``[N, 3]``.

        ``side`` is 1 for the left side of the face and -1 for the right.
        """
        x, y, z = points.unbind(-1)
        dx, dy = side * x - self.centre[0], y - self.centre[1]
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
        bell = torch.exp(-0.5 * (along / self.radii[0]) ** 2 - 0.5 * (across / self.radii[1]) ** 2)
        bell = bell * smooth_step(-0.055, -0.035, z)
        # Beyond three deviations it ends, so that a fold is local to the bit.
        bell = bell * smooth_step(0.011, 0.025, bell)
        if self.paired:
            bell = bell * smooth_step(-MIDLINE, MIDLINE, side * x)
        if not self.period:
            return bell, bell
        line = (across + self.bow * along**2) / (1 + self.fan * along).clamp_min(0.3)
        phase = 2 * math.pi * line / self.period + CREASE_BEND * value_noise(points * 80, 31)
        return bell, bell * (0.5 + 0.5 * torch.cos(phase)) ** CREASE_SHARPNESS


FOLDS = (
    Fold("forehead", "brow_raise", 2.2, (0.022, 0.044), (0.014, 0.010), drag=(0.0, 0.5)),
    Fold("forehead", "brow_lines", -2.6, (0.017, 0.043), (0.020, 0.012), period=0.0085, bow=-4.0),
    Fold("glabella", "frown", 2.6, (0.011, 0.019), (0.005, 0.007), 0.3, drag=(-0.5, -0.2)),
    Fold("glabella", "frown", -2.6, (0.0055, 0.021), (0.0018, 0.0085), 0.15),
    Fold("glabella", "grief", 2.0, (0.0, 0.029), (0.008, 0.005), paired=False),
    Fold("crows_feet", "eye_smile", 1.5, (0.050, -0.006), (0.008, 0.010), drag=(0.3, 0.2)),
    Fold("crows_feet", "eye_smile_lines", -1.8, (0.054, -0.002), (0.008, 0.011), period=0.0062, fan=40.0),
    Fold("lids", "pouch", 1.8, (0.031, -0.016), (0.010, 0.0035), drag=(0.0, 0.3)),
    Fold("lids", "pouch", -0.9, (0.031, -0.0225), (0.011, 0.0022), -0.1),
    Fold("lids", "closing", 0.9, (0.031, 0.009), (0.010, 0.0035)),
    Fold("nose", "sneer", 1.9, (0.009, -0.012), (0.006, 0.008), drag=(0.0, 0.4)),
    Fold("nose", "sneer", -1.3, (0.007, -0.003), (0.007, 0.009), -0.6, period=0.0050),
    Fold("nose", "flare", 1.7, (0.016, -0.039), (0.0045, 0.005), drag=(0.4, 0.0)),
    Fold("nasolabial", "fold", -2.6, (0.0290, -0.057), (0.0028, 0.013), 0.42),
    Fold("nasolabial", "fold", 1.8, (0.0350, -0.055), (0.0045, 0.012), 0.42, drag=(0.2, 0.2)),
    Fold("cheeks", "apple", 2.5, (0.038, -0.037), (0.011, 0.009), drag=(0.0, 0.5)),
    Fold("cheeks", "hollow", -2.2, (0.044, -0.068), (0.010, 0.011)),
    Fold("lip_corners", "dimple", -1.8, (0.031, -0.078), (0.004, 0.006), drag=(0.5, 0.0)),
    Fold("lip_corners", "jowl", 1.6, (0.029, -0.091), (0.006, 0.006)),
    Fold("lip_corners", "jowl", -1.4, (0.0245, -0.091), (0.0018, 0.008), -0.4),
    Fold("lips", "purse", 1.8, (0.0, -0.064), (0.012, 0.0045), paired=False),
    Fold(
        "lips", "purse_lines", -1.0, (0.0, -0.062), (0.007, 0.013), math.pi / 2, period=0.0050, paired=False
    ),
    Fold("lips", "purse_below", 1.6, (0.0, -0.086), (0.011, 0.004), paired=False),
    Fold("chin", "mentolabial", -2.6, (0.0, -0.096), (0.013, 0.0030), paired=False),
    Fold("chin", "chin_boss", 2.6, (0.0, -0.108), (0.010, 0.008), drag=(0.0, 0.3), paired=False),
    Fold("chin", "chin_boss", -1.2, (0.0, -0.108), (0.010, 0.007), 0.5, period=0.0050, paired=False),
)
"""The folds of a face; `NEIGHBOURS` names each region's."""

NEIGHBOURS = {
    "forehead": ("crows_feet", "lids", "lip_corners"),
    "glabella": ("nose", "lids", "lips"),
    "crows_feet": ("cheeks", "forehead"),
    "lids": ("cheeks", "crows_feet", "glabella"),
    "nose": ("nasolabial", "glabella"),
    "nasolabial": ("nose", "lips", "lip_corners"),
    "cheeks": ("crows_feet", "chin", "lips"),
    "lip_corners": ("nasolabial", "chin", "cheeks"),
    "lips": ("chin", "lip_corners", "nasolabial"),
    "chin": ("lips", "cheeks", "forehead"),
}
"""Regions whose tension changes a region's folds under coupling: those beside it and far ones alike."""

TENSION = 2.5
"""Millimetres of folds at which a region's tension saturates."""

COUPLED_GAIN, COUPLED_SHIFT = 0.6, 0.35
"""What full tension of one neighbour does: gain of a region's folds, and millimetres that it adds."""


def activations(action: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """How strongly one side of a face folds, by driver; 0 at neutral and about 1 at full expression.

    Args:
        action: values of an expression coefficient of this side, by its name without ``Left`` and ``Right``.
    """

    def above(value: Tensor) -> Tensor:
        return (value - DEAD_ZONE).clamp_min(0) / (1 - DEAD_ZONE)

    raised = above(0.5 * action("browInnerUp") + 0.5 * action("browOuterUp"))
    lowered, sneer = action("browDown"), action("noseSneer")
    squint, cheek, blink = action("eyeSquint"), action("cheekSquint"), action("eyeBlink")
    smile, upper_lip = action("mouthSmile"), action("mouthUpperUp")
    jaw, pucker, funnel = action("jawOpen"), action("mouthPucker"), action("mouthFunnel")
    press, shrug, frown = action("mouthPress"), action("mouthShrugLower"), above(action("mouthFrown"))
    squeeze = 1 - (1 - squint) * (1 - cheek)
    wrinkled = raised**1.3 * (1 - 0.6 * lowered)
    eye_smile = above(smile) * (0.3 + 0.7 * squeeze) + 0.3 * blink * squeeze
    purse = pucker**2
    return {
        "brow_raise": wrinkled,
        "brow_lines": wrinkled**1.5,
        "frown": above(lowered) ** 1.5 * (1 + 0.6 * sneer),
        "grief": 2.4 * action("browInnerUp") * lowered,
        "eye_smile": eye_smile,
        "eye_smile_lines": eye_smile**1.5,
        "pouch": squint**1.5 + 0.9 * cheek * smile,
        "closing": blink**2 - 0.6 * action("eyeWide") ** 2,
        "sneer": sneer**2 + 0.6 * sneer * cheek,
        "flare": upper_lip * (0.3 + sneer) + 0.4 * funnel**2,
        "fold": smile**2 * (1 - 0.5 * pucker) + 0.8 * upper_lip * sneer,
        "apple": above(smile) * (1 + 0.5 * jaw) * (1 - 0.4 * pucker),
        "hollow": jaw * (0.4 + 0.6 * jaw + 0.6 * pucker) * (1 - 0.5 * smile),
        "dimple": action("mouthDimple") ** 1.5
        + 0.7 * smile**2 * (1 - jaw)
        + 0.5 * action("mouthStretch") ** 2,
        "jowl": frown * (1 + shrug),
        "purse": purse + 0.5 * funnel * (funnel + jaw) - 0.7 * action("mouthRollUpper") ** 1.5 * (1 + press),
        "purse_lines": above(pucker) ** 2,
        "purse_below": purse - 0.6 * action("mouthRollLower") ** 1.5 * (1 + press),
        "mentolabial": 0.8 * shrug * (shrug + pucker) + 0.8 * press**2,
        "chin_boss": shrug**1.5 + 0.8 * frown * press + 0.4 * pucker * shrug,
    }


class FineFace:
    """The folds of one face at fixed points of its skin.

    Attributes:
        regions: by region's name, which points lie in it, ``[N]`` bool.
    """

    def __init__(self, head_model: HeadModel, points: Tensor, normals: Tensor, coupling: float = 0.0) -> None:
        """Place the folds.

        Args:
            head_model: names the expression coefficients.
            points: ``[N, 3]`` face coordinates.
            normals: ``[N, 3]`` unit normals of the neutral head; zero where nothing folds.
            coupling: 0 for regions that fold by their own drivers alone, up to 1 for the tension of
                neighbouring and far regions in each.
        """
        self.coupling = coupling
        self._names = head_model.asset.expression_names
        self._terms: list[tuple[Fold, int]] = [
            (fold, side) for fold in FOLDS for side in ((1, -1) if fold.paired else (0,))
        ]
        skin = normals.square().sum(1) > 0.25
        basis, depths, self.regions = (
            [],
            [],
            {fold.region: torch.zeros(len(points), dtype=torch.bool) for fold in FOLDS},
        )
        for fold, side in self._terms:
            bell, height = fold.envelope(points, side or 1)
            self.regions[fold.region] |= (bell > REGION_CORE) & skin
            drag = torch.tensor([(side or 1) * fold.drag[0], fold.drag[1], 0.0])
            narrow = fold.height < 0 and (fold.period > 0 or min(fold.radii) < NARROW)
            depths.append(-height * skin * narrow)
            basis.append((height * skin)[:, None] * (normals + drag))
        everywhere = 0.001 * torch.stack(basis)
        self._moved = (everywhere.abs().amax((0, 2)) > 0).nonzero()[:, 0]
        self._basis = everywhere[:, self._moved]
        self._creases = torch.stack(depths)[:, self._moved]
        self._count = len(points)

    def heights(self, expression: Tensor) -> Tensor:
        """``[..., K]`` millimetres of the K folds at expressions ``[..., E]``."""
        by_side = {side: activations(self._side(expression, side)) for side in (1, -1, 0)}
        own = torch.stack([fold.height * by_side[side][fold.driver] for fold, side in self._terms], -1)
        if not self.coupling:
            return own
        members = {
            region: [k for k, (fold, _) in enumerate(self._terms) if fold.region == region]
            for region in self.regions
        }
        tension = {region: torch.tanh(own[..., k].abs().sum(-1) / TENSION) for region, k in members.items()}
        coupled = []
        for k, (fold, _) in enumerate(self._terms):
            near = [tension[region] for region in NEIGHBOURS[fold.region]]
            gain = 1 + self.coupling * COUPLED_GAIN * torch.stack(near).sum(0)
            shift = torch.stack([(-1) ** i * pull for i, pull in enumerate(near)]).sum(0)
            coupled.append(own[..., k] * gain + self.coupling * COUPLED_SHIFT * shift)
        return torch.stack(coupled, -1)

    def shapes(self) -> Tensor:
        """``[K, N, 3]`` metres in rest space by which a millimetre of each fold moves the points."""
        shapes = self._basis.new_zeros(len(self._basis), self._count, 3)
        shapes[:, self._moved] = self._basis
        return shapes

    def offsets(self, expression: Tensor) -> Tensor:
        """``[N, 3]`` metres in rest space at the expression ``[E]`` of one frame; zero at neutral."""
        offsets = torch.zeros(self._count, 3)
        offsets[self._moved] = torch.einsum("k,knc->nc", self.heights(expression), self._basis)
        return offsets

    def light(self, expression: Tensor) -> Tensor:
        """``[N]`` share of the light that creases do not take at the expression ``[E]`` of one frame."""
        light = torch.ones(self._count)
        light[self._moved] = torch.exp(
            -CREASE_SHADE * (self.heights(expression) @ self._creases).clamp_min(0)
        )
        return light

    def _side(self, expression: Tensor, side: int) -> Callable[[str], Tensor]:
        """Coefficients of one side; of both, their mean."""
        suffixes = {1: ("Left",), -1: ("Right",), 0: ("Left", "Right")}[side]

        def action(name: str) -> Tensor:
            found = [self._names.index(n) for n in (name, *(name + s for s in suffixes)) if n in self._names]
            return expression[..., found].mean(-1)

        return action
