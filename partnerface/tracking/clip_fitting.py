"""fit_clip: landmarks and pictures of a clip -> mattes, fitted and aligned heads, torso motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from partnerface.compute.threads import single_thread
from partnerface.data.completion.torso_motion import WORKING_SIZE, shrink
from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.alignment.expressions import ExpressionSettings, align_expressions
from partnerface.tracking.alignment.pose_step import AlignmentSettings
from partnerface.tracking.alignment.poses import WORKING_SIZE as ALIGNMENT_SIZE
from partnerface.tracking.alignment.poses import align_poses
from partnerface.tracking.detection.clip_checks import smoothing_times
from partnerface.tracking.detection.head_crop import HeadCrop, head_crops
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.mattes import collect_mattes, segment_foreground, user_mattes
from partnerface.tracking.detection.native_log import without_native_chatter
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit, PictureGeometry
from partnerface.tracking.fit.problem import fit_head
from partnerface.tracking.stages import TrackingStages
from partnerface.tracking.tracked_clip import TrackedClip, assemble_clip, clip_camera

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601)."""


@dataclass
class _ClipPictures:
    """The head crops of a clip, as small as each stage needs them.

    Attributes:
        mattes: ``[T, H, W]`` uint8 at the crop's size.
        luminance: ``[T, h, h]`` uint8, for the alignment.
        torso: ``[T, s, s, 3]`` uint8 RGB, for the torso motion.
    """

    mattes: np.ndarray
    luminance: np.ndarray
    torso: np.ndarray


def fit_clip(
    video: Path,
    track: LandmarkTrack,
    crop: HeadCrop,
    matte_folder: Path | None,
    head_model: HeadModel,
    settings: FitSettings,
    stages: TrackingStages,
    bars: Progress,
) -> TrackedClip:
    """Find mattes, heads and torso of every frame.

    Args:
        video: the video.
        track: its landmarks, in its pixels.
        crop: where the head crops lie.
        matte_folder: the user's mattes, or None: they are segmented.
        head_model: the head that is fitted.
        settings: of the fit.
        stages: what an unfinished run has found is taken from there, and what is found goes there.
        bars: shows a bar for each stage.

    Raises:
        UserError: the video, the mattes or the model files cannot be used.
    """
    pictures = _read_pictures(video, track, crop, matte_folder, stages, bars)
    cropped = track.cropped(crop.offset_x, crop.offset_y, crop.scale, crop.size)
    middle = (track.width / 2 - crop.offset_x, track.height / 2 - crop.offset_y)
    view = PictureGeometry(
        (middle[0] * crop.scale, middle[1] * crop.scale), min(track.width, track.height) * crop.scale
    )
    times = smoothing_times(track)
    fit = stages.fit()
    if fit is None:
        fit = _fit_and_align(cropped, pictures, view, times, head_model, settings, bars)
        stages.save_fit(fit)
    small_mattes = np.stack([shrink(matte) for matte in pictures.mattes])
    return assemble_clip(cropped, fit, view, pictures.mattes, pictures.torso, small_mattes, times, head_model)


def _read_pictures(
    video: Path,
    track: LandmarkTrack,
    crop: HeadCrop,
    matte_folder: Path | None,
    stages: TrackingStages,
    bars: Progress,
) -> _ClipPictures:
    count, side = len(track), min(ALIGNMENT_SIZE, crop.size)
    found = _ClipPictures(
        mattes=np.empty((count, crop.size, crop.size), np.uint8),
        luminance=np.empty((count, side, side), np.uint8),
        torso=np.empty((count, WORKING_SIZE, WORKING_SIZE, 3), np.uint8),
    )
    task = bars.add_task("mattes", total=count)

    def pictures() -> Iterator[np.ndarray]:
        for i, picture in enumerate(head_crops(video, crop)):
            found.torso[i] = shrink(picture)
            found.luminance[i] = shrink(picture, side) @ LUMINANCE
            yield picture
            bars.advance(task)

    stored = stages.mattes(found.mattes.shape)
    if stored is not None:
        found.mattes = stored
        for _ in pictures():
            pass
        return found
    if matte_folder is None:
        mattes = segment_foreground(pictures())
    else:
        given = user_mattes(Path(matte_folder), crop, track.width, track.height, count)
        mattes = (matte for matte, _ in zip(given, pictures(), strict=True))
    with without_native_chatter():
        collect_mattes(mattes, found.mattes)
    stages.save_mattes(found.mattes)
    return found


def _fit_and_align(
    track: LandmarkTrack,
    pictures: _ClipPictures,
    view: PictureGeometry,
    times: np.ndarray,
    head_model: HeadModel,
    settings: FitSettings,
    bars: Progress,
) -> HeadFit:
    """Fit to the landmarks, then align pose and expression with the pictures."""
    task = bars.add_task("fit", total=settings.pose_steps + settings.steps)
    fit = fit_head(
        track,
        head_model,
        torch.from_numpy(pictures.mattes),
        times,
        view,
        settings,
        lambda step, _: bars.update(task, completed=step),
    )
    bars.update(task, completed=settings.pose_steps + settings.steps)
    images = torch.from_numpy(pictures.luminance)
    side = images.shape[-1]
    camera = clip_camera(track, fit.focal, view).resized(side, side)
    weights = torch.as_tensor(track.valid, dtype=torch.float32)
    mattes = torch.from_numpy(np.stack([shrink(matte, side) for matte in pictures.mattes]))
    task = bars.add_task("align", total=AlignmentSettings().rounds + ExpressionSettings().rounds)
    with single_thread():
        fit.head = align_poses(
            images, mattes, camera, fit.head, weights, head_model, on_round=lambda _: bars.advance(task)
        )
        fit.head = align_expressions(
            images, camera, fit.head, weights, head_model, on_round=lambda _: bars.advance(task)
        )
    return fit
