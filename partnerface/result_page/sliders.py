"""Sliders of the player: motions of mouth, brows, eyelids and head, as far as training went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.avatar.method import AvatarMethod
from partnerface.data.view import View

LEAST_REACH = 0.3
"""How far a slider moves a coefficient of the expression that training hardly used."""
TURN, NOD = 15.0, 10.0
"""Degrees to each side of the default view; most clips have turned the head as far."""
JAW = 0.25
"""Radians by which a jaw opens that is a joint."""


@dataclass(frozen=True)
class Slider:
    """One motion of the avatar.

    Attributes:
        low: what its lower end shows.
        high: what its upper end shows.
        move: a view with this motion, by a share in [-1, 1] of its reach, or in [0, 1] if it has no
            lower end; 0 leaves the view as it is.
        two_sided: whether there is a lower end, of share -1.
    """

    low: str
    high: str
    move: Callable[[View, float], View]
    two_sided: bool = True

    def shares(self, positions: int) -> list[float]:
        """Evenly spaced shares, from the lower end to the upper; 0 is among them.

        They are one fewer than ``positions`` where 0 would fall between two.
        """
        positions -= self.two_sided and positions % 2 == 0
        return (
            np.linspace(-1.0 if self.two_sided else 0.0, 1.0, positions).tolist() if positions > 1 else [0.0]
        )


def slider_pairs(avatar: AvatarMethod) -> list[tuple[str, Slider, Slider]]:
    """Title and both sliders of each pair that the avatar's head model can show."""
    names, joints = avatar.head_model.asset.expression_names, avatar.head_model.asset.joint_names
    inner = ["browInnerUp", "browInnerUpLeft", "browInnerUpRight"]
    brows_up = [*inner, "browOuterUpLeft", "browOuterUpRight"]
    pairs = []
    jaw = _expressed(avatar, ["jawOpen"]) if "jawOpen" in names else None
    if jaw is None and "jaw" in joints:
        jaw = _joint_turned(avatar.head_model.joint("jaw"), JAW)
    if jaw is not None:
        smile = _expressed(avatar, ["mouthSmileLeft", "mouthSmileRight"], ["mouthPucker"])
        across = Slider("pucker", "smile", smile)
        if "mouthSmileLeft" not in names:
            across = Slider(f"{names[0]} at its least", "at its greatest", _expressed(avatar, [names[0]]))
        pairs.append(("Mouth", across, Slider("closed", "open", jaw, two_sided=False)))
    if "eyeBlinkLeft" in names:
        brows = _expressed(avatar, brows_up, ["browDownLeft", "browDownRight"])
        blink = _expressed(avatar, ["eyeBlinkLeft", "eyeBlinkRight"])
        down = Slider("eyes open", "eyes closed", blink, two_sided=False)
        pairs.append(("Eyes and brows", Slider("brows down", "brows up", brows), down))
    across = Slider(f"{TURN:g}° left", f"{TURN:g}° right", lambda view, share: view.turned(yaw=TURN * share))
    down = Slider(f"{NOD:g}° up", f"{NOD:g}° down", lambda view, share: view.turned(pitch=-NOD * share))
    return [*pairs, ("Head", across, down)]


def facing_view(avatar: AvatarMethod) -> View:
    """The default view (F = 1) with the head turned as it was held on average in training."""
    view, neck = avatar.default_view(), avatar.rig().neck
    head, rotation = view.head, axis_angle_to_matrix(avatar.mean_pose[None, :3])
    if head.torso_rotation is not None:
        rotation = head.torso_rotation @ rotation
    translation = head.translation + (head.rotation - rotation) @ neck
    return replace(view, head=replace(head, rotation=rotation, translation=translation))


def _expressed(
    avatar: AvatarMethod, upper: Sequence[str], lower: Sequence[str] = ()
) -> Callable[[View, float], View]:
    """Move coefficients as far as training did: ``upper`` for shares above 0, ``lower`` for those below.

    Without ``lower``, ``upper`` falls to the least values of training. Names that the head model lacks are
    left out.
    """
    defaults, names = avatar.view_defaults, avatar.head_model.asset.expression_names

    def move(view: View, share: float) -> View:
        expression = view.head.expression.clone()
        for name in (lower or upper) if share < 0 else upper:
            if name in names:
                k = names.index(name)
                start = expression[:, k]
                end = (start + LEAST_REACH).clamp_min(defaults.expression_high[k])
                if share < 0 and not lower:
                    end = (start - LEAST_REACH).clamp_max(defaults.expression_low[k])
                expression[:, k] = start + abs(share) * (end - start)
        return replace(view, head=replace(view.head, expression=expression))

    return move


def _joint_turned(joint: int, radians: float) -> Callable[[View, float], View]:
    """Turn a joint about the x axis."""

    def move(view: View, share: float) -> View:
        turned = view.head.joint_rotations.clone()
        turn = axis_angle_to_matrix(turned.new_tensor([share * radians, 0.0, 0.0]))
        turned[:, joint] = turned[:, joint] @ turn
        return replace(view, head=replace(view.head, joint_rotations=turned))

    return move
