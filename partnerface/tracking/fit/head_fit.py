"""Records of the tracker's fit: its settings, the picture it looks at, and its result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from partnerface.head_models.head_parameters import HeadParameters
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.fit.matte_contour import ContourTargets


@dataclass(frozen=True)
class FitSettings:
    """Weights and lengths of the fit; the defaults were measured on four clips.

    The landmark term has weight 1; its distances are in pixels of a 512-pixel head crop.

    Attributes:
        pose_steps: steps of the rigid pose alone.
        steps: steps of everything.
        opening_weight: weight of the openings of lids and lips.
        iris_weight: weight of the irises.
        range_weight: weight of expression coefficients that leave their range.
        expression_weight: weight of an expression coefficient, as a share of the greatest, where none is
            negative.
        expression_square_weight: weight of the square of that share.
        jaw_weight: weight of the squared rotation of a jaw that a joint opens, radians.
        score_weight: weight of the detector's centred blendshape scores.
        score_gain: expected change of an expression coefficient by that of its score.
        score_gain_weight: weight of the squared deviation from it, in units of ``score_weight``.
        smoothness: weight of the squared accelerations together, at 25 frames per second.
        rotation_smoothness: share of the rotation in it, axis-angle in radians.
        translation_smoothness: that of the translation, metres.
        rotation_quick: acceleration of the rotation, radians per squared frame at 25 frames per second,
            beyond which it costs linearly: a quick turn is no jitter.
        translation_quick: that of the translation, metres.
        expression_smoothness: share of the expression in ``smoothness``.
        eye_smoothness: that of the expressions of lids: a blink takes two or three frames.
        gaze_smoothness: that of the gaze, radians.
        jaw_smoothness: that of the jaw, radians.
        gaze_weight: weight of the squared gaze, radians.
        focal_weight: weight of the squared deviation of the log focal length from its first guess, in
            units of ``focal_sigma``.
        focal_sigma: expected deviation of the log focal length.
        identity_weight: weight of the standard-normal prior of identity.
        contour_weight: weight of the matte's contour.
    """

    pose_steps: int = 120
    steps: int = 300
    opening_weight: float = 0.15
    iris_weight: float = 0.05
    range_weight: float = 5.0
    expression_weight: float = 0.02
    expression_square_weight: float = 0.045
    jaw_weight: float = 0.4
    score_weight: float = 0.4
    score_gain: float = 0.6
    score_gain_weight: float = 0.15
    smoothness: float = 0.3
    rotation_smoothness: float = 2e3
    translation_smoothness: float = 1e5
    rotation_quick: float = 1.5e-3
    translation_quick: float = 2e-4
    expression_smoothness: float = 0.5
    eye_smoothness: float = 0.05
    gaze_smoothness: float = 5.0
    jaw_smoothness: float = 4.0
    gaze_weight: float = 0.2
    focal_weight: float = 0.02
    focal_sigma: float = 0.5
    identity_weight: float = 0.0005
    contour_weight: float = 0.15


@dataclass(frozen=True)
class PictureGeometry:
    """The uncropped picture, in pixels of the cropped frames.

    Attributes:
        centre: its middle, where the optical axis is taken to be.
        shorter_side: from which the focal length is guessed.
    """

    centre: tuple[float, float]
    shorter_side: float

    @classmethod
    def whole(cls, track: LandmarkTrack) -> PictureGeometry:
        """Frames that were not cropped."""
        return cls((track.width / 2, track.height / 2), min(track.width, track.height))


@dataclass
class HeadFit:
    """A fitted clip.

    Attributes:
        head: ``T`` head parameters without a torso pose.
        focal: focal length in pixels. The prior holds it: it is no measurement.
        landmark_numbers: ``[K]`` numbers of the landmarks that were fitted.
        landmarks: ``[T, K, 2]`` fitted landmarks in pixels.
        irises: ``[T, 2, 2]`` fitted left and right iris in pixels.
        contour: the matte's edge beside the fitted face, None without mattes.
        cpu_seconds: processor time of the fit.
    """

    head: HeadParameters
    focal: float
    landmark_numbers: np.ndarray
    landmarks: Tensor
    irises: Tensor
    contour: ContourTargets | None
    cpu_seconds: float
