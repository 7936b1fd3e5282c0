"""Clip: the head cut out of every frame of a video, with its mattes; fitted and aligned by fit_clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.compute.process_settings import without_native_chatter
from partnerface.compute.threads import single_thread
from partnerface.data.completion.matte_refinement import refine_mattes
from partnerface.data.completion.matting import ForegroundMatting
from partnerface.data.formats.writer import SequenceWriter
from partnerface.files.images import LUMINANCE, read_rgb, shrink
from partnerface.files.video_reading.read import VideoFrame
from partnerface.files.video_reading.source import VideoSource
from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.alignment.expressions import ExpressionSettings, align_expressions
from partnerface.tracking.alignment.pose_step import AlignmentSettings
from partnerface.tracking.alignment.poses import ALIGNMENT_SIZE, align_poses
from partnerface.tracking.alignment.steadiness import NOISY, picture_noise, steady_poses
from partnerface.tracking.detection.glasses import GLASSES_FRAMES, bridge_contrast, glasses_note
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.mattes import (
    HeadCrop,
    head_crops,
    remove_flicker,
    user_mattes,
)
from partnerface.tracking.detection.shots import smoothing_times
from partnerface.tracking.detection.trusted_frames import (
    distrust_covered,
    distrust_cut,
    distrust_wrong,
    landmark_colours,
)
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit, PictureGeometry
from partnerface.tracking.fit.problem import fit_head
from partnerface.tracking.stages import TrackingStages


@dataclass(frozen=True)
class Clip:
    """A video cut to the head.

    Attributes:
        track: detected landmarks in pixels of the crop.
        view: the whole picture, in pixels of the crop.
        times: ``[T]`` seconds within which motion is smooth.
        image_paths: ``T`` files of the crops.
        matte_paths: ``T`` files of their mattes.
        mattes: ``[T, H, W]`` uint8, what the files hold; may be mapped from a file.
        notes: frames that are not trusted, and what is not modelled, in words for the user.
    """

    track: LandmarkTrack
    view: PictureGeometry
    times: np.ndarray
    image_paths: list[Path]
    matte_paths: list[Path]
    mattes: np.ndarray
    notes: list[str] = field(default_factory=list)

    @property
    def frame_weights(self) -> Tensor:
        """``[T]`` 1 where a face was found and trusted, 0 also in copies."""
        return torch.as_tensor(self.track.used, dtype=torch.float32)

    def camera(self, focal: float) -> Camera:
        """``T`` static cameras at the crop's resolution; the optical axis meets the whole picture's middle.

        Args:
            focal: focal length in pixels of the crop.
        """
        camera = Camera.static(len(self.track), focal, self.track.width, self.track.height)
        camera.intrinsics[:, 2:] = torch.tensor(self.view.centre)
        return camera


def cut_clip(
    video: VideoSource,
    track: LandmarkTrack,
    frames: np.ndarray,
    crop: HeadCrop,
    matting: ForegroundMatting | Path,
    writer: SequenceWriter,
    stages: TrackingStages,
    bars: Progress,
) -> Clip:
    """Cut the head out of frames and separate it from the background, in one pass over the video.

    Coarse mattes are refined in a second pass, over the crops.

    Args:
        video: the video, as it was read for the landmarks.
        track: its landmarks, in its pixels.
        frames: ``[T]`` numbers of the frames that are wanted.
        crop: where the head lies.
        matting: makes the mattes, unless the video is transparent; or the folder of the user's.
        writer: takes crops and mattes.
        stages: mattes of an unfinished run are taken from there, and new ones go there.
        bars: shows a bar.

    Raises:
        UserError: the video, the mattes or the model files cannot be used, or the disk is full.
    """
    task = bars.add_task("mattes", total=len(frames))
    image_paths: list[Path] = []
    chosen, wrong = distrust_wrong(track.selected(frames))
    times = smoothing_times(chosen)
    at_head = chosen.cropped(crop.offset_x, crop.offset_y, crop.scale, crop.size)
    at_head, cut_off = distrust_cut(at_head)
    colours: list[np.ndarray] = []
    contrasts: list[float] = []

    def cut() -> Iterator[VideoFrame]:
        for number, frame in enumerate(head_crops(video, crop, frames)):
            image_paths.append(writer.add_image(frame.image))
            landmarks = np.nan_to_num(at_head.landmarks[number])
            colours.append(landmark_colours(frame.image, landmarks))
            if at_head.used[number] and number % (len(frames) // GLASSES_FRAMES + 1) == 0:
                contrasts.append(bridge_contrast(frame.image, landmarks))
            yield frame
            bars.advance(task)

    shape = (len(frames), crop.size, crop.size)
    mattes = stages.mattes(shape)
    if mattes is not None:
        for _ in cut():
            pass
    else:
        if isinstance(matting, Path):
            size = track.width, track.height
            given = user_mattes(matting, crop, *size, len(track), frames, track.quarter_turns)
            found = (matte for matte, _ in zip(given, cut(), strict=True))
        elif track.transparent:
            opaque = np.full(shape[1:], 255, np.uint8)
            found = (opaque if frame.alpha is None else frame.alpha for frame in cut())
        else:
            found = matting.mattes(frame.image for frame in cut())
        mattes = stages.room_for_mattes(shape)
        with without_native_chatter():
            for number, matte in enumerate(found):
                mattes[number] = matte
        if not isinstance(matting, Path) and not track.transparent:
            remove_flicker(mattes, times)
            if matting.coarse:
                refined = bars.add_task("refine mattes", total=len(frames))
                # What has faces is one shot: titles lie before it or behind.
                seen = np.flatnonzero(chosen.valid)
                scene = range(seen[0], seen[-1] + 1)
                refine_mattes(
                    lambda i: read_rgb(image_paths[i]), mattes, lambda: bars.advance(refined), scene
                )
                remove_flicker(mattes, times)
        stages.save_mattes(mattes)
    middle = (track.width / 2 - crop.offset_x, track.height / 2 - crop.offset_y)
    at_head, covered = distrust_covered(at_head, np.stack(colours))
    return Clip(
        track=at_head,
        view=PictureGeometry(
            (middle[0] * crop.scale, middle[1] * crop.scale), min(track.width, track.height) * crop.scale
        ),
        times=times,
        image_paths=image_paths,
        matte_paths=[writer.add_matte(matte) for matte in mattes],
        mattes=mattes,
        notes=[*wrong, *cut_off, *covered, *glasses_note(contrasts)],
    )


def fit_clip(clip: Clip, head_model: HeadModel, settings: FitSettings, bars: Progress) -> HeadFit:
    """Fit heads to the landmarks, then align their poses and expressions with the pictures.

    ``settings`` are those of the fit; ``bars`` shows a bar for each of the two.
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
    side = min(ALIGNMENT_SIZE, clip.track.height)
    luminance = torch.from_numpy(np.stack([_luminance(read_rgb(p), side) for p in clip.image_paths]))
    mattes = torch.from_numpy(np.stack([shrink(matte, side) for matte in clip.mattes]))
    camera = clip.camera(fit.focal).resized(side, side)
    weights = clip.frame_weights

    def advance(_: int) -> None:
        bars.advance(task)

    with single_thread():
        fit.head = align_poses(luminance, mattes, camera, fit.head, weights, head_model, on_round=advance)
        if picture_noise(luminance) > NOISY:
            fit.head = steady_poses(fit.head, weights, clip.times)
        times = torch.from_numpy(clip.times)
        fit.head = align_expressions(
            luminance, camera, fit.head, weights, times, head_model, on_round=advance
        )
    return fit


def _luminance(image: np.ndarray, side: int) -> np.ndarray:
    """``[side, side]`` uint8 of a square picture ``[H, H, 3]`` uint8."""
    return (shrink(image, side) @ LUMINANCE).astype(np.uint8)
