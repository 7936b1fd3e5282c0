"""fit_head: landmarks (and mattes) of a clip -> head parameters and focal length, all frames at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from pytorch3d.transforms import matrix_to_axis_angle
from torch import Tensor

from partnerface.compute.threads import single_thread
from partnerface.data.drivers.named_tracks import by_name
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import (
    LEFT_IRIS,
    OPENINGS,
    RIGHT_IRIS,
    LandmarkGeometry,
    landmark_geometry,
)
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.fit import terms
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit, PictureGeometry
from partnerface.tracking.fit.matte_contour import ContourTargets, MatteContour
from partnerface.tracking.fit.variables import (
    FitVariables,
    eye_expressions,
    initial_poses,
    interpolate_missing,
)

REFERENCE_FACE_HEIGHT_PX = 512 / 2.2
FOCAL_IMAGE_SIDES = 2.2
CONTOUR_UPDATES = 6


class FitProblem:
    """The data of one fit and its loss; arguments as in `partnerface.tracking.fit.problem.fit_head`."""

    def __init__(
        self,
        track: LandmarkTrack,
        head_model: HeadModel,
        mattes: Tensor | None,
        times: np.ndarray | None,
        view: PictureGeometry | None,
        settings: FitSettings,
    ) -> None:
        self.settings = settings
        self.geometry: LandmarkGeometry = landmark_geometry(head_model)
        landmarks = torch.as_tensor(interpolate_missing(track.landmarks, track.valid & track.trusted))
        self.detected = landmarks[:, self.geometry.numbers, :2]
        self.detected_irises = landmarks[:, [LEFT_IRIS, RIGHT_IRIS], :2]
        self.frame_weights = torch.as_tensor(track.used, dtype=torch.float32)
        self.times = torch.as_tensor(track.timestamps if times is None else times, dtype=torch.float32)
        self.scores, self.scored = _centred_scores(track, head_model)
        self.of_eyes = eye_expressions(head_model)
        self.pixel_scale = REFERENCE_FACE_HEIGHT_PX / float(np.nanmedian(track.face_heights()))
        pairs = [self.geometry.rows(pair) for pair in OPENINGS]
        whole = [pair for pair in pairs if len(pair) == 2]
        self.pairs = torch.tensor(whole, dtype=torch.long).reshape(-1, 2)
        view = view or PictureGeometry.whole(track)
        focal = FOCAL_IMAGE_SIDES * view.shorter_side
        self.first_log_focal = math.log(focal)
        rotation, translation = initial_poses(
            landmarks[:, self.geometry.numbers], self.geometry.points.template, focal, view.centre
        )
        self.variables = FitVariables(
            matrix_to_axis_angle(rotation), translation, focal, view.centre, head_model
        )
        self.contour: MatteContour | None = None
        if mattes is not None:
            self.contour = MatteContour(head_model, self.geometry, mattes, self.pixel_scale)
        self.targets: ContourTargets | None = None

    def loss(self) -> Tensor:
        """Every term at the present state."""
        variables, weights, s = self.variables, self.frame_weights, self.settings
        rotation, expression = variables.rotation_matrices(), variables.expression
        projected = variables.pixels(self.geometry.points, rotation, expression)
        residual = (projected - self.detected) * self.pixel_scale
        iris = (variables.iris_pixels(rotation) - self.detected_irises) * self.pixel_scale
        iris_distance = torch.linalg.vector_norm(iris, dim=-1)
        shares, (low, high) = variables.shares_of_expression, variables.range
        total = terms.landmark_term(residual, self.geometry.weights, weights)
        if len(self.pairs):
            total = total + s.opening_weight * terms.opening_term(residual, self.pairs, weights)
        total = total + s.iris_weight * terms.frame_mean(
            terms.pseudo_huber(iris_distance, 3.0).mean(1), weights
        )
        total = total + s.identity_weight * variables.identity.square().sum()
        total = total + s.range_weight * terms.range_term(variables.raw_expression, low, high, weights)
        total = total + terms.expression_prior(
            shares, weights, s.expression_weight * (low == 0), s.expression_square_weight
        )
        if variables.jaw is not None:
            total = total + s.jaw_weight * terms.jaw_prior(variables.jaw, weights)
        scores = terms.score_term(
            shares[:, self.scored], self.scores[:, self.scored], variables.score_gain[self.scored], weights
        )
        gain_prior = (variables.score_gain - s.score_gain).square().sum()
        total = total + s.score_weight * (scores + s.score_gain_weight * gain_prior)
        moving = [
            (variables.rotation, s.rotation_smoothness, s.rotation_quick),
            (variables.translation, s.translation_smoothness, s.translation_quick),
            (shares[:, ~self.of_eyes], s.expression_smoothness, math.inf),
            (shares[:, self.of_eyes], s.eye_smoothness, math.inf),
            (variables.gaze, s.gaze_smoothness, math.inf),
        ]
        if variables.jaw is not None:
            moving.append((variables.jaw, s.jaw_smoothness, math.inf))
        for values, weight, quick in moving:
            total = total + s.smoothness * weight * terms.smoothness_term(values, self.times, quick)
        total = total + s.gaze_weight * variables.gaze.square().sum(1).mean()
        deviation = (variables.log_focal - self.first_log_focal) / s.focal_sigma
        total = total + s.focal_weight * deviation**2
        if self.targets is not None:
            total = total + s.contour_weight * self.contour.loss(
                self.targets, variables, rotation, expression
            )
        return total

    def find_targets(self) -> ContourTargets:
        """The matte's contour at the present state, tracked frames only."""
        variables = self.variables
        with torch.no_grad():
            targets = self.contour.find(variables, variables.rotation_matrices(), variables.expression)
        kept = self.frame_weights[targets.frames] > 0
        return ContourTargets(
            **{name: v[kept] if isinstance(v, Tensor) else v for name, v in vars(targets).items()}
        )

    def minimise(self, on_step: Callable[[int, int], None]) -> None:
        """Rigid poses first, then everything; the contour joins after a third of that."""
        settings, variables = self.settings, self.variables
        pose = {variables.rotation: 0.3, variables.translation: 0.15}
        others = {
            variables.identity: 2.5,
            variables.raw_expression: 1.0,
            variables.gaze: 1.0,
            variables.log_focal: 0.3,
            variables.score_gain: 1.0,
        }
        if variables.jaw is not None:
            others[variables.jaw] = 0.5
        total = settings.pose_steps + settings.steps
        first_contour = settings.steps // 3
        interval = max(1, (settings.steps - first_contour) // CONTOUR_UPDATES)
        done = 0
        for rates, steps, rate in ((pose, settings.pose_steps, 0.01), (pose | others, settings.steps, 0.02)):
            optimizer, schedule = _adam(rates, steps, rate)
            for step in range(steps):
                late = len(rates) > len(pose) and step >= first_contour
                if late and self.contour and (step - first_contour) % interval == 0:
                    self.targets = self.find_targets()
                variables.zero_grad()
                self.loss().backward()
                optimizer.step()
                schedule.step()
                done += 1
                on_step(done, total)

    @torch.no_grad()
    def result(self, cpu_seconds: float) -> HeadFit:
        """The fit at the present state; frames of weight 0 have their neighbours' expressions in between.

        Smooth accelerations alone would swing beyond them: a jaw that closes would close behind a hand.
        """
        variables, used = self.variables, (self.frame_weights > 0).numpy()
        for values in (variables.raw_expression, variables.jaw):
            if values is not None:
                values.copy_(torch.as_tensor(interpolate_missing(values.numpy(), used)))
        rotation = variables.rotation_matrices()
        return HeadFit(
            head=variables.head_parameters(),
            focal=float(variables.focal),
            landmark_numbers=self.geometry.numbers,
            landmarks=variables.pixels(self.geometry.points, rotation, variables.expression),
            irises=variables.iris_pixels(rotation),
            contour=None if self.contour is None else self.find_targets(),
            cpu_seconds=cpu_seconds,
        )


def _adam(rates: dict, steps: int, rate: float):
    groups = [{"params": [parameter], "lr": rate * factor} for parameter, factor in rates.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=0.1)
    return optimizer, schedule


def _centred_scores(track: LandmarkTrack, head_model: HeadModel) -> tuple[Tensor, Tensor]:
    """``[T, E]`` detector scores by the head model's names, minus their mean over the used frames.

    Also the columns ``[S]`` that have a score.
    """
    detected = np.where(track.valid[:, None], track.scores, 0).astype(np.float32)
    scores, missing = by_name(torch.as_tensor(detected), track.score_names, head_model)
    used, valid = (torch.as_tensor(some)[:, None] for some in (track.used, track.valid))
    scores = (scores - (scores * used).sum(0) / used.sum()) * valid
    scored = [i for i, name in enumerate(head_model.asset.expression_names) if name not in missing]
    return scores, torch.tensor(scored, dtype=torch.long)


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
