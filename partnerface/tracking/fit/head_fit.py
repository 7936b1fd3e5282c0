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

    Attributes:
        num_identity: identity coefficients that are fitted; the rest stay 0.
        pose_steps: steps of the rigid pose alone.
        steps: steps of everything.
        smoothness: weight of the accelerations.
        score_weight: weight of the detector's centred blendshape scores.
        contour_weight: weight of the matte's contour.
        identity_weight: weight of the standard-normal prior of identity.
    """

    num_identity: int = 80
    pose_steps: int = 120
    steps: int = 300
    smoothness: float = 0.3
    score_weight: float = 0.4
    contour_weight: float = 0.15
    identity_weight: float = 0.0005


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
