"""track_video: video -> landmarks -> mattes -> fit -> alignment -> torso, shell -> dataset on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from partnerface.data.completion.shell import ShellReport, measure_shell
from partnerface.data.completion.torso_motion import shrink
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.data.splits import SPLIT_PROTOCOL, assign_splits, split_coverage
from partnerface.errors import UserError
from partnerface.files.videos import probe_video, read_video, write_video
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.clip_fitting import fit_clip
from partnerface.tracking.detection.clip_checks import (
    check_face_found,
    check_single_face,
    check_single_shot,
    find_cuts,
)
from partnerface.tracking.detection.head_crop import HeadCrop, choose_head_crop, head_crops
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.landmarks import detect_landmarks
from partnerface.tracking.detection.mattes import mattes_digest
from partnerface.tracking.detection.native_log import without_native_chatter
from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.report import frame_residuals, overlay_frame, report_record, write_report
from partnerface.tracking.stages import (
    LANDMARKS_FILE,
    TrackingStages,
    file_digest,
    recorded_key,
    settings_key,
    stored_landmarks,
)
from partnerface.tracking.tracked_clip import TrackedClip

CROP_FILE = "head_crop.json"
OVERLAY_FILE = "overlay.mp4"
MIN_SIZE = 64
SHELL_FRAMES = 40
SHELL_SIZE = 256


def track_video(
    video: Path,
    out: Path,
    size: int = 512,
    mattes: Path | None = None,
    head_model: HeadModel | None = None,
    settings: FitSettings | None = None,
    say: Callable[[str], None] = print,
) -> TrackedSequence:
    """Track the head in a video and write the dataset that training reads.

    A run that is interrupted leaves its finished stages in a hidden folder beside ``out``; the same call
    goes on from them.

    Args:
        video: a video of one person from one static camera.
        out: folder of the dataset; landmarks, overlay video and report are put there too.
        size: side of the head crop in pixels.
        mattes: folder with a foreground matte for every frame, instead of the segmentation.
        head_model: default is the Anny head.
        settings: weights of the fit.
        say: receives one line about what is reused.

    Raises:
        UserError: the video, the model files or the folder cannot be used.
    """
    video, out = Path(video), Path(out)
    if size < MIN_SIZE or size % 2:
        raise UserError(f"--size {size}: give an even number of at least {MIN_SIZE}")
    head_model = head_model or AnnyHead()
    settings = settings or FitSettings()
    source = file_digest(video)
    given = None if mattes is None else mattes_digest(Path(mattes))
    key = settings_key(source, size, given, head_model, settings)
    if recorded_key(out) == key:
        TrackingStages(out, key).remove()
        say(f"{out}: already tracked from this video with these settings, used as it is")
        return PartnerfaceReader(out).read()
    with SequenceWriter(out) as writer, _progress_bars() as bars:
        stages = TrackingStages(out, key)
        track = _find_landmarks(video, source, out, stages, say, bars)
        track.save(writer.folder / LANDMARKS_FILE)
        crop = choose_head_crop(track, size)
        crop.save(writer.folder / CROP_FILE)
        clip = fit_clip(video, track, crop, mattes, head_model, settings, stages, bars)
        splits = assign_splits(clip.frame_weights, track.fps, clip.head.expression)
        shell = _measure_shell(video, crop, clip, head_model, splits["train"])
        coverage = split_coverage(splits, clip.head)
        record = report_record(clip, shell, find_cuts(track), coverage)
        write_report(writer.folder, record | {"key": key})
        frames = _write_frames(video, crop, clip, head_model, writer, bars)
        write_video(writer.folder / OVERLAY_FILE, frames, track.fps)
        sequence = writer.finish(
            name=video.stem,
            camera=clip.camera,
            head=clip.head,
            head_model=head_model_record(head_model),
            fps=track.fps,
            frame_weights=clip.frame_weights,
            torso_motion=clip.torso.matrices,
            neck_line=clip.neck_line,
            shell_thickness=shell.thickness,
            splits=splits,
            split_protocol=SPLIT_PROTOCOL,
            coverage=coverage,
            landmark_residual=frame_residuals(clip),
        )
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
    out: Path,
    stages: TrackingStages,
    say: Callable[[str], None],
    bars: Progress,
) -> LandmarkTrack:
    """Of an unfinished run, of the dataset that lies there (perhaps of another size), or of the detector."""
    if (track := stages.landmarks(source)) is not None:
        say(f"{stages.folder}: an unfinished tracking, continued")
        return track
    # What follows from landmarks that are gone is of no use.
    stages.remove()
    if (track := stored_landmarks(out / LANDMARKS_FILE, source)) is not None:
        say(f"{out / LANDMARKS_FILE}: landmarks of this video, reused")
    else:
        track = _detect(video, source, bars)
    check_face_found(track, video)
    check_single_shot(track, video)
    stages.save_landmarks(track)
    return track


def _detect(video: Path, source: str, bars: Progress) -> LandmarkTrack:
    task = bars.add_task("landmarks", total=probe_video(video).num_frames or None)

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for frame in read_video(video):
            yield frame.time, frame.image
            bars.advance(task)

    with without_native_chatter():
        track = detect_landmarks(frames())
        check_single_face(video)
    track.source = source
    return track


def _measure_shell(
    video: Path, crop: HeadCrop, clip: TrackedClip, head_model: HeadModel, train: list[int]
) -> ShellReport:
    chosen = np.array(train)[np.linspace(0, len(train) - 1, min(SHELL_FRAMES, len(train))).astype(int)]
    size = min(SHELL_SIZE, crop.size)
    rows = ((np.arange(size) + 0.5) * crop.size / size).astype(int)
    wanted = set(chosen.tolist())
    images = np.stack([shrink(p, size) for i, p in enumerate(head_crops(video, crop)) if i in wanted])
    labels = [clip.labels(clip.regions(head_model, i), i)[np.ix_(rows, rows)] for i in chosen]
    vertices = torch.stack([clip.posed(head_model, i)[0] for i in chosen])
    return measure_shell(
        head_model,
        vertices,
        clip.camera.select(chosen.tolist()).resized(size, size),
        torch.from_numpy(np.stack(labels)),
        torch.from_numpy(images),
        *clip.mesh.vertex_masks(),
    )


def _write_frames(
    video: Path,
    crop: HeadCrop,
    clip: TrackedClip,
    head_model: HeadModel,
    writer: SequenceWriter,
    bars: Progress,
) -> Iterator[np.ndarray]:
    """Add every frame to the dataset and yield its overlay."""
    numbers = clip.fit.landmark_numbers
    for i, picture in enumerate(bars.track(head_crops(video, crop), len(clip.track), description="write")):
        regions = clip.regions(head_model, i)
        writer.add_frame(picture, clip.mattes[i], clip.labels(regions, i))
        detected = clip.track.landmarks[i, numbers, :2] if clip.track.valid[i] else None
        yield overlay_frame(picture, regions, detected, clip.fit.landmarks[i].numpy())
