"""TransferredPerformance: a performance carried over to an avatar's person, and the maths of it.

Of a performer only what is relative to that person's neutral expression and mean pose is used; identity,
camera, neutral expression and range are the avatar's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from partnerface.cameras.pinhole import OPENGL_TO_OPENCV, Camera
from partnerface.data.drivers.driver import Driver
from partnerface.data.drivers.performance import Performance
from partnerface.data.splits import angular_velocity
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.rotations import rotation_vectors

SOFTNESS = 0.25
"""How far beyond the range of training an expression can get along an axis, as a share of its width."""

LEAST_MARGIN = 0.02
"""The same along an axis on which training did not move, in coefficients."""


@dataclass
class ExpressionRange:
    """Where the training expressions of an avatar lie, as a box along their principal axes.

    Attributes:
        neutral: ``[E]`` the neutral expression, the origin of the axes.
        axes: ``[E, E]`` orthonormal, an axis a row.
        low: ``[E]`` least coordinate of a training expression along each axis, at most 0.
        high: ``[E]`` greatest, at least 0.
        least: ``[E]`` limit of each coefficient.
        greatest: ``[E]`` limit of each coefficient.
    """

    neutral: Float[Tensor, " E"]
    axes: Float[Tensor, "E E"]
    low: Float[Tensor, " E"]
    high: Float[Tensor, " E"]
    least: Float[Tensor, " E"]
    greatest: Float[Tensor, " E"]


def carry_expression(relative: Tensor, limits: ExpressionRange, loosened: float = 1.0) -> Tensor:
    """Expressions ``[T, E]`` of an avatar from those relative to a performer's neutral ``[T, E]``.

    ``neutral + relative``, except along axes on which that leaves the box of the training expressions: there
    a coordinate c beyond the limit h becomes ``h + m tanh((c - h) / m)``, with the margin m a quarter of the
    box's width and `LEAST_MARGIN`. The result keeps to the limits of each coefficient. Zero gives the neutral
    exactly, nothing changes inside the box, the result is bounded and grows with c.

    Args:
        relative: expressions minus the performer's neutral.
        limits: the avatar's.
        loosened: factor on the box; infinite for no limit at all.
    """
    if math.isinf(loosened):
        return limits.neutral + relative
    along = relative @ limits.axes.T
    low, high = loosened * limits.low, loosened * limits.high
    margin = SOFTNESS * (high - low) + LEAST_MARGIN
    above, below = (along - high).clamp_min(0), (low - along).clamp_min(0)
    change = margin * ((above / margin).tanh() - (below / margin).tanh()) - above + below
    carried = limits.neutral + relative + change @ limits.axes
    return torch.minimum(torch.maximum(carried, limits.least), limits.greatest)


@dataclass
class DrivenAvatar:
    """What a transfer has to know of an avatar.

    Attributes:
        view: its default view (F = 1): identity, camera, neutral expression and pose, torso, rig.
        expression_names: ``[E]``.
        limits: the range of its expressions.
        mean_rotation: ``[3, 3]`` the head's mean pose in training, in the world.
        mean_translation: ``[3]`` metres.
        torso_response: ``[9, 6]`` how its torso moves with the head: change of the torso motion (six numbers,
            row by row) and of the torso's translation (three), for a change of `torso_pose`.
        pose_low: ``[6]`` least change of `torso_pose` in training against the default view.
        pose_high: ``[6]`` greatest.
    """

    view: View
    expression_names: list[str]
    limits: ExpressionRange
    mean_rotation: Float[Tensor, "3 3"]
    mean_translation: Float[Tensor, " 3"]
    torso_response: Float[Tensor, "9 6"]
    pose_low: Float[Tensor, " 6"]
    pose_high: Float[Tensor, " 6"]


@dataclass(frozen=True)
class TransferSettings:
    """How a performance is carried over.

    Attributes:
        pose: ``relative`` adds the performer's head motion about its mean pose to the avatar's mean pose in
            training, ``absolute`` shows the head as it was before the performer's camera, ``still`` keeps the
            avatar's mean pose.
        range: how far expressions may leave those of training, see `carry_expression`; inf for no limit.
        torso: ``follow`` moves the shoulders with the head as in training, ``still`` does not move them,
            ``tracked`` takes those of the performance, which must be of the avatar's own person and camera.
        keep_distance: keep the head as far from the camera as the mean of training.
    """

    pose: Literal["relative", "absolute", "still"] = "relative"
    range: float = 1.0
    torso: Literal["follow", "still", "tracked"] = "follow"
    keep_distance: bool = True

    def __post_init__(self) -> None:
        for flag, value, allowed in (
            ("pose", self.pose, ("relative", "absolute", "still")),
            ("torso", self.torso, ("follow", "still", "tracked")),
        ):
            if value not in allowed:
                raise UserError(f"--{flag} {value}: choose from {', '.join(allowed)}")
        if not self.range > 0:
            raise UserError(f"--range {self.range:g}: give a number above 0, inf for no limit")


class TransferredPerformance(Driver):
    """A performance as views of an avatar's person, before the avatar's default camera.

    Args:
        performance: what somebody did, anybody.
        avatar: who shows it.
        settings: how it is carried over.

    Attributes:
        performance: as given: its sound, pictures and notes belong to the views.

    Raises:
        UserError: the performance's expressions are those of another head model, or it has no torso to take.
    """

    def __init__(
        self, performance: Performance, avatar: DrivenAvatar, settings: TransferSettings | None = None
    ) -> None:
        settings = settings or TransferSettings()
        if performance.expression_names != avatar.expression_names:
            raise UserError(f"{performance.name}: its expressions are not those of the avatar's head model")
        self.performance, self.fps = performance, performance.fps
        self.sound, self.sound_start = performance.sound, performance.sound_start
        default, frames = avatar.view, len(performance)
        rotation, translation = _carry_pose(performance, avatar, settings)
        everywhere = torch.zeros(frames, dtype=torch.long)
        torso_motion = default.torso_motion[everywhere]
        head = HeadParameters(
            identity=default.head.identity,
            expression=carry_expression(performance.expression, avatar.limits, settings.range),
            joint_rotations=performance.joint_rotations,
            rotation=rotation,
            translation=translation,
            angular_velocity=angular_velocity(
                rotation, self.fps, torch.ones(frames, dtype=torch.bool), everywhere
            ),
        )
        if default.head.torso_rotation is not None and default.head.torso_translation is not None:
            head.torso_rotation = default.head.torso_rotation[everywhere]
            head.torso_translation = default.head.torso_translation[everywhere]
        if settings.torso == "follow":
            head, torso_motion = _follow(head, torso_motion, avatar)
        elif settings.torso == "tracked":
            head, torso_motion = _tracked(head, performance, settings)
        self.views = replace(default.select(everywhere), head=head, torso_motion=torso_motion)

    def __len__(self) -> int:
        return len(self.performance)

    def __getitem__(self, place: int) -> View:
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self.views.select([place])


def camera_axes(camera: Camera) -> Tensor:
    """``[F, 3, 3]`` a camera's axes with y up and z backward, in the world."""
    return camera.camera_to_world[:, :, :3] @ torch.diag(torch.tensor(OPENGL_TO_OPENCV))


def _carry_pose(
    performance: Performance, avatar: DrivenAvatar, settings: TransferSettings
) -> tuple[Tensor, Tensor]:
    """Rotations ``[T, 3, 3]`` and translations ``[T, 3]`` of the head in the avatar's world."""
    frames, camera = len(performance), avatar.view.camera
    if settings.pose == "still":
        return avatar.mean_rotation.repeat(frames, 1, 1), avatar.mean_translation.repeat(frames, 1)
    # In the camera's axes, where the distance is along z.
    axes, centre = camera_axes(camera)[0], camera.camera_to_world[0, :, 3]
    place = (avatar.mean_translation - centre) @ axes
    if settings.pose == "relative" or performance.mean_translation is None:
        moved = place + performance.translation
        if settings.keep_distance:
            moved = torch.cat([moved[:, :2], place[2:].expand(frames, 1)], 1)
    else:
        moved = performance.mean_translation + performance.translation
        if settings.keep_distance:  # on the same ray of the camera
            if bool((moved[:, 2] >= 0).any()):
                raise UserError(
                    f"{performance.name}: a head is not before the camera, whose z points backward: give "
                    "metres with z below 0, or --pose relative"
                )
            moved = moved * (place[2] / moved[:, 2:])
    start = avatar.mean_rotation if settings.pose == "relative" else axes @ performance.mean_rotation
    return start @ performance.rotation, moved @ axes.T + centre


def torso_pose(head: HeadParameters) -> Tensor:
    """``[F, 6]`` what a torso moves with: the head's turn against it in radians, its position in metres."""
    rotation = head.rotation
    if head.torso_rotation is not None:
        rotation = head.torso_rotation.mT @ rotation
    return torch.cat([rotation_vectors(rotation), head.translation], 1)


def _follow(head: HeadParameters, motion: Tensor, avatar: DrivenAvatar) -> tuple[HeadParameters, Tensor]:
    """The torso moved with the head as in training, and no farther than there."""
    change = torso_pose(head) - torso_pose(avatar.view.head)
    change = torch.minimum(torch.maximum(change, avatar.pose_low), avatar.pose_high)
    response = change @ avatar.torso_response.T
    if head.torso_translation is not None:
        head = replace(head, torso_translation=head.torso_translation + response[:, 6:])
    return head, motion + response[:, :6].unflatten(1, (2, 3))


def _tracked(
    head: HeadParameters, performance: Performance, settings: TransferSettings
) -> tuple[HeadParameters, Tensor]:
    torso = performance.torso
    if torso is None:
        raise UserError(
            f"--torso tracked: {performance.name} is not the avatar's own video; choose follow or still"
        )
    if settings.pose != "absolute":
        raise UserError(f"--torso tracked: needs --pose absolute, not {settings.pose}")
    if (head.torso_rotation is None) == (torso.head.torso_rotation is None):
        head = replace(
            head, torso_rotation=torso.head.torso_rotation, torso_translation=torso.head.torso_translation
        )
    return head, torso.torso_motion
