"""Expressions by name and angles by axis, as the coefficients and joints of a head model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from pytorch3d.transforms import euler_angles_to_matrix
from torch import Tensor

from partnerface.head_models.head_model import HeadModel


def plain_name(name: str) -> str:
    """An expression's name without case, separators and abbreviated sides: ``mouthsmileleft``.

    >>> plain_name("MouthSmile_L") == plain_name("mouthSmileLeft")
    True
    """
    for letter, side in (("L", "Left"), ("R", "Right")):
        name = re.sub(rf"(?:_[{letter}{letter.lower()}]|(?<=[a-z]){letter})$", side, name)
    return re.sub(r"[\W_]", "", name).lower()


def action_of(name: str) -> str:
    """The action of an expression, without its side; jawLeft and mouthLeft are actions of their own.

    >>> action_of("eyeBlinkLeft"), action_of("jawLeft")
    ('eyeBlink', 'jawLeft')
    """
    both = re.sub("(left|right)$", "", name, flags=re.IGNORECASE)
    return name if both.lower() in ("jaw", "mouth") else both


def by_name(values: Tensor, names: Sequence[str], head_model: HeadModel) -> tuple[Tensor, list[str]]:
    """Expressions ``[T, N]`` of some names as ``[T, E]`` of a head model's, and the names that it misses.

    Names match without case and separators; those that the head model lacks are left out. Where one has
    a name for both sides and the other a name for each, each side gets the common value, and the
    common one the mean of the sides.
    """
    columns = {plain_name(name): number for number, name in enumerate(names)}
    wanted = head_model.asset.expression_names
    found, missing = values.new_zeros(len(values), len(wanted)), []
    for number, name in enumerate(wanted):
        plain = plain_name(name)
        for candidates in ((plain,), (action_of(plain),), (plain + "left", plain + "right")):
            if all(candidate in columns for candidate in candidates):
                found[:, number] = values[:, [columns[candidate] for candidate in candidates]].mean(1)
                break
        else:
            missing.append(name)
    return found, missing


EYE_YAW, EYE_PITCH = math.radians(30), math.radians(20)
"""How far an eye turns at an ``eyeLook`` coefficient of one, where no eye angles are given."""


def eye_angles(expression: Tensor, head_model: HeadModel) -> dict[str, tuple[Tensor, Tensor]]:
    """Yaw (to the performer's left) and pitch (down) ``[T]`` in radians of both eyes, from ``eyeLook``.

    By side, ``left`` and ``right``. Zero where the head model has no such coefficients.
    """
    columns = {name: expression[:, i] for i, name in enumerate(head_model.asset.expression_names)}
    none = expression.new_zeros(len(expression))

    def look(direction: str, side: str) -> Tensor:
        return columns.get(f"eyeLook{direction}{side.capitalize()}", none)

    found = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yaw = sign * (look("Out", side) - look("In", side))
        found[side] = EYE_YAW * yaw, EYE_PITCH * (look("Down", side) - look("Up", side))
    return found


def eye_joints(angles: dict[str, tuple[Tensor, Tensor]], head_model: HeadModel) -> Tensor:
    """``[T, J, 3, 3]`` joint rotations with the eyes turned by yaw and pitch, see `eye_angles`."""
    frames = len(angles["left"][0])
    joints = torch.eye(3).repeat(frames, head_model.num_joints, 1, 1)
    for side, (yaw, pitch) in angles.items():
        if (name := f"eye_{side}") in head_model.asset.joint_names:
            joints[:, head_model.joint(name)] = rotations(yaw, pitch, torch.zeros_like(yaw))
    return joints


def rotations(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """``[T, 3, 3]`` of angles ``[T]`` in radians: about y (up), x (left), z (out of the face).

    Right-handed and applied in that order about the head's own axes: positive yaw turns
    to the subject's left, positive pitch down, positive roll towards its right shoulder.
    """
    return euler_angles_to_matrix(torch.stack([yaw, pitch, roll], -1), "YXZ")
