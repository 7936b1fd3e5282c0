"""LivePerformer: pictures of a performer as they are filmed -> Views of an avatar.

MediaPipe's blendshape scores, by name, drive the expressions, its head pose the head. Both are relative to
the performer's neutral, which is found while running, and to the avatar's: no identity leaks. No picture
waits for a later one, so nothing here looks ahead. Where a head model's expressions have no names (FLAME),
scores are read as Anny's and carried over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.data.drivers.expression_transfer import has_named_expressions
from partnerface.data.drivers.named_tracks import by_name, eye_joints
from partnerface.data.drivers.performance import Performance
from partnerface.data.drivers.transfer import TransferredPerformance, TransferSettings
from partnerface.data.view import View
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.expression_map import expression_map
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import CHIN, OUTER_EYE_CORNERS, landmark_geometry
from partnerface.head_models.rotations import rotation_vectors
from partnerface.tracking.detection.landmarks import DetectedFace, VideoFaceDetector
from partnerface.tracking.live_signals import OneEuroFilter, RunningNeutral

USUAL_GAIN = 0.6
SCORE_GAINS = {
    **{"browDown": 0.8, "browInnerUp": 0.7, "browOuterUp": 0.4, "eyeBlink": 0.7, "eyeLookDown": 0.4},
    **{"eyeLookIn": 0.5, "eyeLookOut": 0.5, "mouthLowerDown": 0.8, "mouthPress": 0.4, "mouthUpperUp": 0.5},
}
"""Coefficient of the tracker for a score of 1, by the start of the action's name.

Slopes over all frames of three tracked clips, of actions that moved in them; the others get the usual one.
"""

JAW_DROP, LIP_GAP = 1.3, 0.8
"""Coefficient of jawOpen for one distance of the outer eye corners from nose to chin, and from lip to lip.

The score of jawOpen hardly leaves zero in speech; over three clips these two follow the tracker better.
"""

GAZE_RADIANS = 0.3
"""Turn of an eye for a score of 1; slope over the frames of a tracked clip."""

NOSE_BASE, UPPER_LIP, LOWER_LIP = 2, 13, 14

FACE_ORIGIN_M = (0.0, 0.0071, -0.0448)
"""Origin of the detector's face model, from the mean of its landmarks on a head at rest."""

LONGEST_STEP_S = 0.5
"""Pictures further apart say nothing about the head's velocity."""


class LivePerformer:
    """Drives an avatar by pictures of a performer, one after another; used in a ``with`` block.

    Args:
        avatar: whom to drive.
        settings: how the performance is carried over.
        smooth: cutoff at rest in Hz of the filter for jitter, see `OneEuroFilter`; None filters nothing.
        beta: Hz by which that cutoff rises with the speed.
        detect: picture and time to a face; by default MediaPipe, which the extra `track` brings.

    Attributes:
        neutral: the performer's neutral so far.

    Raises:
        UserError: MediaPipe or its model file is missing, a setting is wrong, or the expressions of the
            avatar's head model have neither names nor landmarks by which they could be found.
    """

    def __init__(
        self,
        avatar: AvatarMethod,
        settings: TransferSettings | None = None,
        smooth: float | None = None,
        beta: float = 0.5,
        detect: Callable[[np.ndarray, float], DetectedFace | None] | None = None,
    ) -> None:
        self.neutral = RunningNeutral()
        self._settings = settings or TransferSettings()
        self._filter = None if smooth is None else OneEuroFilter(smooth, beta)
        self._driven, self._head_model = avatar.driven(), avatar.head_model
        named = has_named_expressions(self._head_model)
        self._named = self._head_model if named else AnnyHead()
        self._carried = None if named else expression_map(self._named, self._head_model)
        self._device = avatar.identity.device
        self._face_origin = _face_origin(self._head_model, avatar.identity)
        self._last: tuple[float, Tensor] | None = None
        self._detector = None if detect else VideoFaceDetector()
        self._detect = detect or self._detector

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._detector is not None:
            self._detector.__exit__(*raised)

    def take_neutral(self) -> None:
        """Take face, pose and gaze of the last half second as neutral from now on."""
        self.neutral.take()

    def view(self, image: np.ndarray, time: float) -> View | None:
        """The view (F = 1) for a picture ``[H, W, 3]`` uint8 RGB of ``time`` seconds; None without a face.

        With several faces in the picture it stays with the one that it found first.
        """
        face = self._detect(image, time)
        if face is None:
            return None
        signals = np.concatenate(
            [face_expression(face, self._named), face_placement(face, self._face_origin)]
        )
        if not np.isfinite(signals).all():
            return None
        if self._filter is not None:
            signals = self._filter(signals, time)
        expressions = self._named.num_expression
        self.neutral.observe(signals[:expressions], signals[expressions:], time)
        performance = self._performance(signals[:expressions], signals[expressions:])
        view = TransferredPerformance(performance, self._driven, self._settings)[0]
        velocity = self._velocity(signals[expressions : expressions + 3], time)
        return replace(view, head=replace(view.head, angular_velocity=velocity[None])).to(self._device)

    def _performance(self, expression: np.ndarray, placement: np.ndarray) -> Performance:
        """The picture as a performance of one frame, relative to the neutral so far."""
        both = torch.as_tensor(np.stack([expression, self.neutral.signals]), dtype=torch.float32)
        count = self._head_model.num_expression
        # Of the jaw's joint as well, where the head model has one.
        moved, resting = both if self._carried is None else self._carried.carry(both)
        now, start = (torch.as_tensor(x, dtype=torch.float32) for x in (placement, self.neutral.reference))
        rotation, reference = axis_angle_to_matrix(now[:3]), axis_angle_to_matrix(start[:3])
        yaw, pitch = (now[6:] - start[6:])[:, None]
        joints = eye_joints({"left": (yaw, pitch), "right": (yaw, pitch)}, self._head_model)
        if self._carried is not None and self._head_model.jaw_joint is not None:
            joints[:, self._head_model.jaw_joint] = axis_angle_to_matrix((moved - resting)[count:])
        return Performance(
            name="live performer",
            fps=1.0,
            times=torch.zeros(1),
            expression=(moved - resting)[None, :count],
            expression_names=self._driven.expression_names,
            neutral=resting[:count],
            joint_rotations=joints,
            rotation=(reference.T @ rotation)[None],
            translation=(now[3:6] - start[3:6])[None] / 10,
            mean_rotation=reference,
            mean_translation=start[3:6] / 10,
            sound=None,
            pictures=(),
            torso=None,
            notes=[],
        )

    def _velocity(self, axis_angle: np.ndarray, time: float) -> Tensor:
        """``[3]`` radians per second in the head's own axes, since the last picture."""
        if self._settings.pose == "still":
            return torch.zeros(3)
        rotation = axis_angle_to_matrix(torch.as_tensor(axis_angle, dtype=torch.float32))
        before, self._last = self._last, (time, rotation)
        if before is None or not 0 < time - before[0] <= LONGEST_STEP_S:
            return torch.zeros(3)
        return rotation_vectors(before[1].T @ rotation) / (time - before[0])


def face_expression(face: DetectedFace, head_model: HeadModel) -> np.ndarray:
    """``[E]`` the tracker's expression coefficients for a detected face, each but for a constant offset.

    Actions that the detector does not score are 0.
    """
    points = face.landmarks
    eyes = _distance(points, *OUTER_EYE_CORNERS)
    jaw = JAW_DROP * _distance(points, NOSE_BASE, CHIN) + LIP_GAP * _distance(points, UPPER_LIP, LOWER_LIP)
    values = {name: _gain(name) * score for name, score in face.scores.items()} | {"jawOpen": jaw / eyes}
    scores = torch.tensor([list(values.values())], dtype=torch.float64)
    return by_name(scores, list(values), head_model)[0][0].numpy()


def face_placement(face: DetectedFace, origin: np.ndarray) -> np.ndarray:
    """``[8]`` axis-angle of the head, its position in decimetres, yaw and pitch of the gaze in radians.

    In the axes of the camera with y up and z backward; the gaze in those of the head, yaw to the performer's
    left, pitch down.

    Args:
        face: as detected.
        origin: ``[3]`` the origin of the detector's face model in head rest space, metres.
    """
    rotation = face.matrix[:3, :3].astype(np.float64)
    position = face.matrix[:3, 3] / 100 - rotation @ origin
    look = {name.removeprefix("eyeLook"): score for name, score in face.scores.items()}
    yaw = sum(look.get(name, 0.0) for name in ("OutLeft", "InRight"))
    yaw -= sum(look.get(name, 0.0) for name in ("InLeft", "OutRight"))
    pitch = sum(look.get(name, 0.0) for name in ("DownLeft", "DownRight"))
    pitch -= sum(look.get(name, 0.0) for name in ("UpLeft", "UpRight"))
    turn = rotation_vectors(torch.as_tensor(rotation)).numpy()
    return np.concatenate([turn, 10 * position, [GAZE_RADIANS / 2 * yaw, GAZE_RADIANS / 2 * pitch]])


def _distance(points: np.ndarray, first: int, second: int) -> float:
    return float(np.linalg.norm(points[first] - points[second]))


def _gain(name: str) -> float:
    return next((gain for start, gain in SCORE_GAINS.items() if name.startswith(start)), USUAL_GAIN)


def _face_origin(head_model: HeadModel, identity: Tensor) -> np.ndarray:
    """``[3]`` where the origin of the detector's face model lies in a person's head rest space, metres.

    The head model's own origin, where it does not say where landmarks lie on it.
    """
    geometry = landmark_geometry(head_model)
    if not len(geometry.numbers):
        return np.zeros(3)
    neutral = torch.zeros(1, head_model.num_expression)
    places = geometry.points.positions(identity.cpu(), neutral)[0]
    return places.mean(0).double().numpy() + FACE_ORIGIN_M
