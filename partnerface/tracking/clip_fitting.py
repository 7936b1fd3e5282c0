"""fit_clip: landmarks, pictures and mattes of a clip -> fitted and aligned heads."""

from __future__ import annotations

import numpy as np
import torch
from rich.progress import Progress

from partnerface.compute.threads import single_thread
from partnerface.data.completion.torso_motion import shrink
from partnerface.files.images import read_rgb
from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.alignment.expressions import ExpressionSettings, align_expressions
from partnerface.tracking.alignment.pose_step import AlignmentSettings
from partnerface.tracking.alignment.poses import WORKING_SIZE, align_poses
from partnerface.tracking.clip import Clip
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit
from partnerface.tracking.fit.problem import fit_head

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601)."""


def fit_clip(clip: Clip, head_model: HeadModel, settings: FitSettings, bars: Progress) -> HeadFit:
    """Fit heads to the landmarks, then align their poses and expressions with the pictures.

    Args:
        clip: the clip.
        head_model: the head that is fitted.
        settings: of the fit.
        bars: shows a bar for each of the two.
    """
    task = bars.add_task("fit", total=settings.pose_steps + settings.steps)
    fit = fit_head(
        clip.track,
        head_model,
        torch.from_numpy(clip.mattes),
        clip.times,
        clip.view,
        settings,
        lambda step, _: bars.update(task, completed=step),
    )
    bars.update(task, completed=settings.pose_steps + settings.steps)
    task = bars.add_task("align", total=AlignmentSettings().rounds + ExpressionSettings().rounds)
    side = min(WORKING_SIZE, clip.track.height)
    luminance = torch.from_numpy(np.stack([_luminance(read_rgb(p), side) for p in clip.image_paths]))
    mattes = torch.from_numpy(np.stack([shrink(matte, side) for matte in clip.mattes]))
    camera = clip.camera(fit.focal).resized(side, side)
    weights = clip.frame_weights

    def advance(_: int) -> None:
        bars.advance(task)

    with single_thread():
        fit.head = align_poses(luminance, mattes, camera, fit.head, weights, head_model, on_round=advance)
        fit.head = align_expressions(luminance, camera, fit.head, weights, head_model, on_round=advance)
    return fit


def _luminance(image: np.ndarray, side: int) -> np.ndarray:
    """``[side, side]`` uint8 of a square picture ``[H, H, 3]`` uint8."""
    return (shrink(image, side) @ LUMINANCE).astype(np.uint8)
