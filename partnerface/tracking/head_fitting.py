"""Landmarks (and mattes) of a clip -> head parameters and focal length, all frames at once."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.single_thread import single_thread
from partnerface.tracking.fit_problem import FitProblem
from partnerface.tracking.head_fit import FitSettings, HeadFit, PictureGeometry
from partnerface.tracking.landmark_track import LandmarkTrack


def fit_head(
    track: LandmarkTrack,
    head_model: HeadModel,
    mattes: Tensor | None = None,
    times: np.ndarray | None = None,
    view: PictureGeometry | None = None,
    settings: FitSettings | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> HeadFit:
    """Fit a head model to the landmarks of a clip.

    Args:
        track: landmarks in pixels of the frames; frames without a face have weight 0 and are
            bridged smoothly.
        head_model: needs a landmark embedding.
        mattes: ``[T, H, W]`` uint8 of the same frames, or None.
        times: ``[T]`` seconds in which motion is smooth (default: the track's timestamps).
        view: the whole picture that the frames were cut from (default: the frames themselves).
        settings: weights and lengths.
        on_step: called with the step and the number of steps.
    """
    settings = settings or FitSettings()
    started = time.process_time()
    with single_thread():
        problem = FitProblem(track, head_model, mattes, times, view, settings)
        problem.minimise(on_step or (lambda step, steps: None))
        return problem.result(time.process_time() - started)
