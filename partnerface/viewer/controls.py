"""Controls: what the controls of one page say, and the view and part gains that follow from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.data.drivers.named_tracks import action_of
from partnerface.data.view import View
from partnerface.head_models.head_model import HeadModel

REGIONS = ("Brows", "Eyes", "Cheeks", "Nose", "Jaw and mouth", "Tongue", "Other")
"""Parts of the face that expressions are grouped by, from above to below."""

_REGION_OF_PREFIX = {
    **{"brow": "Brows", "eye": "Eyes", "cheek": "Cheeks", "nose": "Nose"},
    **{"jaw": "Jaw and mouth", "mouth": "Jaw and mouth", "tongue": "Tongue"},
}

PRESETS: Mapping[str, Mapping[str, float]] = {
    "Neutral": {},
    "Smile": {"mouthSmile": 0.85, "cheekSquint": 0.5, "eyeSquint": 0.3},
    "Surprise": {"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.8, "jawOpen": 0.35},
    "Blink": {"eyeBlink": 1.0},
    "Open mouth": {"jawOpen": 0.75},
    "Kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
    "Frown": {"browDown": 0.8, "mouthFrown": 0.7, "eyeSquint": 0.3},
    "Sneer": {"noseSneer": 0.8, "mouthUpperUp": 0.5, "browDown": 0.4},
    "Puff": {"cheekPuff": 0.9, "mouthClose": 0.1},
}
"""Expressions by ARKit's names; a name without Left and Right stands for both sides."""

HEAD_DEGREES, EYE_DEGREES, JAW_DEGREES = 45.0, 30.0, 20.0
"""Furthest turn of a slider."""


@dataclass(frozen=True)
class Controls:
    """The settings of a page; pages of equal controls show equal pictures.

    Attributes:
        expression: E coefficients, added to those of the frame that is shown.
        head_turn: yaw, pitch and roll in degrees that turn the head further, see `View.turned`.
        joint_turns: joint, yaw to the subject's left and pitch upwards in degrees, of each joint that turns.
        camera_to_world: 3 rows of 4 numbers, metres, OpenCV axes; None for the avatar's own camera.
        part_gains: a factor for each part; empty if all are as trained.
        highlighted: numbers of the parts that the map of parts shows; empty for all.
        channel: what is shown: one of `drawing.CHANNELS`.
        wireframe: draw the edges of the head model over the picture.
        background: red, green, blue in [0, 255].
    """

    expression: tuple[float, ...]
    head_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    joint_turns: tuple[tuple[int, float, float], ...] = ()
    camera_to_world: tuple[tuple[float, float, float, float], ...] | None = None
    part_gains: tuple[float, ...] = ()
    highlighted: tuple[int, ...] = ()
    channel: str = "Colour"
    wireframe: bool = False
    background: tuple[int, int, int] = (255, 255, 255)

    def view(self, base: View, head_model: HeadModel) -> View:
        """A view (F = 1) with the controls applied on top of it."""
        head = base.head
        low, high = head_model.asset.expression_range
        added = head.expression + head.expression.new_tensor(self.expression)
        # What a performance itself exaggerates stays; two smiles on top of each other do not add up.
        expression = added.clamp(
            head.expression.clamp_max(float(low)), head.expression.clamp_min(float(high))
        )
        joints = head.joint_rotations.clone()
        for joint, yaw, pitch in self.joint_turns:
            joints[:, joint] = joints[:, joint] @ turn(yaw, pitch).to(joints)
        view = replace(base, head=replace(head, expression=expression, joint_rotations=joints))
        if any(self.head_turn):
            yaw, pitch, roll = self.head_turn
            view = view.turned(yaw=yaw, pitch=pitch, roll=roll)
        if self.camera_to_world is not None:
            pose = view.camera.camera_to_world.new_tensor([self.camera_to_world])
            view = view.seen_from(replace(view.camera, camera_to_world=pose))
        return view

    def gains(self) -> Tensor | None:
        """``[P]`` part gains, None if all are as trained."""
        return torch.tensor(self.part_gains) if self.part_gains else None


def turn(yaw: float, pitch: float) -> Tensor:
    """``[3, 3]`` rotation by degrees to the subject's left, then upwards (y up, z out of the face)."""
    angles = torch.tensor([[0.0, math.radians(yaw), 0.0], [-math.radians(pitch), 0.0, 0.0]])
    sideways, upwards = axis_angle_to_matrix(angles)
    return sideways @ upwards


def region_of(name: str) -> str:
    """The one of `REGIONS` that an expression moves, by its ARKit name; Other for other names.

    >>> region_of("mouthSmileLeft"), region_of("expression_3")
    ('Jaw and mouth', 'Other')
    """
    return _REGION_OF_PREFIX.get(_words(name)[0], "Other")


def label_of(name: str) -> str:
    """An expression's name for people, without what its region says already.

    >>> label_of("mouthSmileLeft"), label_of("jawOpen"), label_of("expression_3")
    ('smile left', 'jaw open', 'expression 3')
    """
    words = _words(name)
    if words[0] in _REGION_OF_PREFIX and words[0] not in ("jaw", "tongue"):
        words = words[1:] or words
    return " ".join(words)


def other_side(name: str, names: Iterable[str]) -> str | None:
    """The same expression of the other side of the face; None if there is none.

    `jawLeft` and `mouthLeft` move one thing to a side: they have none.

    >>> other_side("eyeBlinkLeft", ["eyeBlinkLeft", "eyeBlinkRight"])
    'eyeBlinkRight'
    """
    ends = {"Left": "Right", "Right": "Left"}
    for end, other in ends.items():
        if name.endswith(end) and action_of(name) != name:
            found = name.removesuffix(end) + other
            return found if found in names else None
    return None


def preset_expression(preset: str, names: Sequence[str]) -> list[float]:
    """E coefficients of one of `PRESETS` for a head model with these expression names."""
    wanted = PRESETS[preset]
    return [wanted.get(name, wanted.get(re.sub("(Left|Right)$", "", name), 0.0)) for name in names]


def presets_for(names: Sequence[str]) -> list[str]:
    """Those of `PRESETS` that a head model with these expression names can show."""
    return [preset for preset in PRESETS if preset == "Neutral" or any(preset_expression(preset, names))]


def _words(name: str) -> list[str]:
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").lower().split() or [name]
