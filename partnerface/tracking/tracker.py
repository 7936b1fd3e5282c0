"""track_video: video -> landmarks -> crops and mattes -> fit -> completion -> dataset on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from partnerface.compute.process_settings import without_native_chatter
from partnerface.data.completion.complete import Completion, HeadTrack, complete
from partnerface.data.completion.frame_labels import landmark_pixels, require_landmarks
from partnerface.data.completion.matting import ForegroundMatting, MediaPipeMatting
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError
from partnerface.files.images import read_rgb
from partnerface.files.videos import probe_video, write_video
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.tracking.clip import Clip, cut_clip, fit_clip
from partnerface.tracking.detection.landmark_track import (
    LandmarkTrack,
    check_face_found,
    check_single_shot,
    find_cuts,
)
from partnerface.tracking.detection.landmarks import LandmarkDetector, MediaPipeDetector
from partnerface.tracking.detection.mattes import (
    choose_head_crop,
    mattes_digest,
)
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit
from partnerface.tracking.report import frame_residuals, overlay_frame, report_record, write_report
from partnerface.tracking.stages import (
    LANDMARKS_FILE,
    TrackingStages,
    file_digest,
    recorded_key,
    settings_key,
    stored_landmarks,
)

CROP_FILE = "head_crop.json"
OVERLAY_FILE = "overlay.mp4"
MIN_SIZE = 64


def track_video(
    video: Path,
    out: Path,
    size: int = 512,
    mattes: Path | None = None,
    head_model: HeadModel | None = None,
    settings: FitSettings | None = None,
    say: Callable[[str], None] = print,
    *,
    detector: LandmarkDetector | None = None,
    matting: ForegroundMatting | None = None,
) -> TrackedSequence:
    """Track the head in a video and write the dataset that training reads.

    A run that is interrupted leaves its finished stages in a hidden folder beside ``out``; the same call
    continues from them.

    Args:
        video: a video of one person from one static camera.
        out: folder of the dataset; landmarks, overlay video and report are put there too.
        size: side of the head crop in pixels; it is never enlarged beyond the video's own pixels.
        mattes: folder with a foreground matte for every frame, instead of ``matting``.
        head_model: default is the Anny head.
        settings: weights of the fit.
        say: receives lines about what is reused and about a crop smaller than ``size``.
        detector: finds the landmarks; MediaPipe by default.
        matting: separates the person from the background; MediaPipe by default.

    Raises:
        UserError: the video, the model files, the head model or the folder cannot be used.
    """
    video, out = Path(video), Path(out)
    if size < MIN_SIZE or size % 2:
        raise UserError(f"--size {size}: give an even number of at least {MIN_SIZE}")
    head_model = head_model or AnnyHead()
    require_landmarks(head_model)
    settings = settings or FitSettings()
    detector, matting = detector or MediaPipeDetector(), matting or MediaPipeMatting()
    source = file_digest(video)
    models = (detector.model_sha256, mattes_digest(Path(mattes)) if mattes else matting.model_sha256)
    key = settings_key(source, size, models, head_model, settings)
    if recorded_key(out) == key:
        TrackingStages(out, key).remove()
        say(f"{out}: already tracked from this video with these settings, used as it is")
        return PartnerfaceReader(out).read()
    with SequenceWriter(out) as writer, _progress_bars() as bars:
        stages = TrackingStages(out, key)
        track = _find_landmarks(video, source, detector, out, stages, say, bars)
        track.save(writer.folder / LANDMARKS_FILE)
        crop = choose_head_crop(track, size)
        crop.save(writer.folder / CROP_FILE)
        if crop.size < size:
            say(f"{video}: the head crop is {crop.side} pixels wide and is not enlarged to {size}")
        clip = cut_clip(video, track, crop, Path(mattes) if mattes else matting, writer, stages, bars)
        fit = stages.fit()
        if fit is None:
            fit = fit_clip(clip, head_model, settings, bars)
            stages.save_fit(fit)
        tracked = HeadTrack(
            name=video.stem,
            image_paths=clip.image_paths,
            matte_paths=clip.matte_paths,
            camera=clip.camera(fit.focal),
            head=fit.head,
            fps=track.fps,
            frame_weights=clip.frame_weights,
            landmarks=fit.landmarks,
            times=torch.as_tensor(clip.times, dtype=torch.float32),
        )
        completion = complete(tracked, head_model)
        aligned = landmark_pixels(landmark_geometry(head_model), fit.head, tracked.camera)
        record = report_record(clip, fit, aligned, completion, find_cuts(track))
        write_report(writer.folder, record | {"key": key})
        overlays = _write_labels(clip, fit, completion, writer, bars)
        write_video(writer.folder / OVERLAY_FILE, overlays, track.fps)
        residuals = frame_residuals(clip.track, fit.landmark_numbers, aligned)
        sequence = writer.finish(completion.sequence(writer.paths["label_path"]), residuals)
    stages.remove()
    return sequence


def _progress_bars() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _find_landmarks(
    video: Path,
    source: str,
    detector: LandmarkDetector,
    out: Path,
    stages: TrackingStages,
    say: Callable[[str], None],
    bars: Progress,
) -> LandmarkTrack:
    """Landmarks of an unfinished run, of a dataset in ``out`` (of any size), or newly detected."""
    if (track := stages.landmarks(source)) is not None:
        say(f"{stages.folder}: an unfinished tracking, continued")
        return track
    # What follows from landmarks that are gone is of no use.
    stages.remove()
    if (track := stored_landmarks(out / LANDMARKS_FILE, source, detector.model_sha256)) is not None:
        say(f"{out / LANDMARKS_FILE}: landmarks of this video, reused")
    else:
        task = bars.add_task("landmarks", total=probe_video(video).num_frames or None)
        with without_native_chatter():
            track = detector.detect(video, lambda: bars.advance(task))
        track.source = source
    check_face_found(track, video)
    check_single_shot(track, video)
    stages.save_landmarks(track)
    return track


def _write_labels(
    clip: Clip, fit: HeadFit, completion: Completion, writer: SequenceWriter, bars: Progress
) -> Iterator[np.ndarray]:
    """Add every frame's label image to the dataset and yield its overlay."""
    track = clip.track
    for i, path in enumerate(bars.track(clip.image_paths, description="write")):
        regions = completion.labels.regions(i)
        writer.add_labels(completion.labels.image(i, clip.mattes[i], regions))
        detected = track.landmarks[i, fit.landmark_numbers, :2] if track.valid[i] else None
        yield overlay_frame(read_rgb(path), regions, detected, fit.landmarks[i].numpy())
