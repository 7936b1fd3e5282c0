"""track_video: video -> landmarks -> crops and mattes -> fit -> completion -> dataset on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from partnerface.compute.process_settings import without_native_chatter
from partnerface.compute.threads import single_thread
from partnerface.data.completion.complete import Completion, HeadTrack, complete
from partnerface.data.completion.frame_labels import landmark_pixels
from partnerface.data.completion.matting import ForegroundMatting, MediaPipeMatting, import_mediapipe
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.values import LONGEST_NAME
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError
from partnerface.files.downloads import SELFIE_SEGMENTATION, model_file
from partnerface.files.images import read_rgb
from partnerface.files.video_reading.read import probe_streams
from partnerface.files.video_reading.source import (
    MAX_FRAMES,
    VideoSource,
    require_enough_frames,
    video_source,
)
from partnerface.files.videos import write_video
from partnerface.files.whole_files import alone_at
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.head_models.landmark_store import require_landmarks
from partnerface.runs.progress import StageProgress
from partnerface.tracking.clip import Clip, cut_clip, fit_clip
from partnerface.tracking.detection.frame_choice import choose_frames
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.landmarks import LandmarkDetector, MediaPipeDetector
from partnerface.tracking.detection.mattes import (
    check_mattes,
    choose_head_crop,
    mattes_digest,
)
from partnerface.tracking.detection.shots import (
    check_face_found,
    find_cuts,
    new_pictures,
    picture_rate,
    single_shot,
    stall_notes,
)
from partnerface.tracking.detection.trusted_frames import distrust_cut
from partnerface.tracking.fit.head_fit import FitSettings, HeadFit
from partnerface.tracking.report import frame_residuals, overlay_frame, report_record, write_report
from partnerface.tracking.stages import (
    LANDMARKS_FILE,
    TrackingStages,
    recorded_key,
    settings_key,
    stored_landmarks,
)

CROP_FILE = "head_crop.json"
OVERLAY_FILE = "overlay.mp4"
MIN_SIZE = 64


def track_video(
    video: VideoSource | Path,
    out: Path,
    *,
    size: int = 512,
    mattes: Path | None = None,
    head_model: HeadModel | None = None,
    settings: FitSettings | None = None,
    say: Callable[[str], None] = print,
    detector: LandmarkDetector | None = None,
    matting: ForegroundMatting | None = None,
    max_frames: int = MAX_FRAMES,
) -> TrackedSequence:
    """Track the head in a video and write the dataset that training reads.

    A run that is interrupted leaves its finished stages in a hidden folder beside ``out``; the same call
    continues from them.

    Args:
        video: a video of one person from one static camera: a file, a folder of pictures, or a pattern of
            their names such as ``frame_%04d.png``.
        out: folder of the dataset; landmarks, overlay video and report are put there too.
        size: side of the head crop in pixels; it is never enlarged beyond the video's own pixels.
        mattes: folder with a foreground matte for every frame, instead of ``matting``.
        head_model: default is the Anny head.
        settings: weights of the fit.
        say: receives lines about what is reused, what was done to the video to read it, and about a crop
            smaller than ``size``.
        detector: finds the landmarks; MediaPipe by default.
        matting: separates the person from the background; MediaPipe by default. A transparent video's matte
            is its alpha.
        max_frames: most frames that are used, see `choose_frames`.

    Raises:
        UserError: the video, the model files, the head model or the folder cannot be used, or another command
            is tracking into the folder.
    """
    video, out = video_source(video), Path(out)
    if size < MIN_SIZE or size % 2:
        raise UserError(f"--size {size}: give an even number of at least {MIN_SIZE}")
    require_enough_frames(max_frames)
    head_model = head_model or AnnyHead()
    require_landmarks(head_model.asset, "it cannot be fitted to a video")
    settings = settings or FitSettings()
    needs_model = matting is None and mattes is None
    detector, matting = detector or MediaPipeDetector(), matting or MediaPipeMatting()
    source = video.digest()
    models = (detector.model_sha256, mattes_digest(Path(mattes)) if mattes else matting.model_sha256)
    key = settings_key(source, size, models, head_model, settings, max_frames)
    if recorded_key(out) == key:
        try:
            sequence = PartnerfaceReader(out).read()
        except UserError as error:
            say(f"{error}; doing so now")
        else:
            TrackingStages(out, key).remove()
            say(f"{out}: already tracked from this video with these settings, used as it is")
            return sequence
    if needs_model:
        import_mediapipe()
        # What is no video is said before anything is downloaded for it.
        probe_streams(video)
        # Fetched now, not after the minutes of landmarks.
        model_file(SELFIE_SEGMENTATION)
    if mattes and video.section is None:
        check_mattes(Path(mattes), probe_streams(video))
    # On a busy machine torch's threads wait for each other: 73 CPU seconds in place of 14 for 24 frames.
    with alone_at(out), single_thread(), SequenceWriter(out) as writer, StageProgress("tracking") as bars:
        stages = TrackingStages(out, key)
        track = _find_landmarks(video, source, detector, out, stages, say, bars)
        track.save(writer.folder / LANDMARKS_FILE)
        frames = choose_frames(track, max_frames)
        notes = [*track.notes, *stall_notes(track)]
        if len(frames) < len(new_pictures(track)):
            notes.append(
                f"{len(frames)} of {len(track)} frames are used, those that differ most; "
                "--max_frames sets another number"
            )
        track = replace(track, fps=picture_rate(track))
        for note in notes:
            say(f"{video.path}: {note}")
        crop = choose_head_crop(distrust_cut(track)[0], size)
        crop.save(writer.folder / CROP_FILE)
        if crop.size < size:
            say(f"{video.path}: the head crop is {crop.side} pixels wide and is not enlarged to {size}")
        # As it was read for the landmarks.
        stream = None if track.stream < 0 else track.stream
        read = replace(video, stream=stream, quarter_turns=track.quarter_turns)
        given = Path(mattes) if mattes else matting
        clip = cut_clip(read, track, frames, crop, given, writer, stages, bars)
        for note in clip.notes:
            say(f"{video.path}: {note}")
        notes += clip.notes
        fit = stages.fit()
        if fit is None:
            fit = fit_clip(clip, head_model, settings, bars)
            stages.save_fit(fit)
        tracked = HeadTrack(
            # Names of files may hold what no line of text does, such as the narrow space of macOS.
            name="".join(c if c.isprintable() else " " for c in video.name)[:LONGEST_NAME],
            image_paths=clip.image_paths,
            matte_paths=clip.matte_paths,
            camera=clip.camera(fit.focal),
            head=fit.head,
            fps=track.fps,
            frame_weights=clip.frame_weights,
            landmarks=fit.landmarks,
            times=torch.as_tensor(clip.times, dtype=torch.float32),
        )
        task = bars.add_task("completion", total=None)
        completion = complete(tracked, head_model)
        bars.update(task, total=1, completed=1)
        geometry = landmark_geometry(head_model)
        aligned = landmark_pixels(head_model, geometry, fit.head, tracked.camera)
        record = report_record(clip, fit, aligned, completion, find_cuts(clip.track), notes)
        side = round(crop.scale * max(track.width, track.height), 1)
        write_report(writer.folder, record | {"key": key, "picture_side_px": side})
        overlays = _write_labels(clip, fit, completion, writer, bars)
        write_video(writer.folder / OVERLAY_FILE, overlays, track.fps)
        residuals = frame_residuals(clip.track, fit.landmark_numbers, aligned)
        sequence = completion.sequence(writer.paths["label_path"])
        sequence.times = torch.from_numpy(track.timestamps[frames])
        sequence.head_model = head_model
        sequence = writer.finish(sequence, residuals)
    stages.remove(with_others=True)
    return sequence


def _find_landmarks(
    video: VideoSource,
    source: str,
    detector: LandmarkDetector,
    out: Path,
    stages: TrackingStages,
    say: Callable[[str], None],
    bars: Progress,
) -> LandmarkTrack:
    """Landmarks of an unfinished run, of a dataset in ``out``, or newly detected.

    They are the same for every size, matte and head model, and are taken from runs of other settings too.
    """
    if (track := stages.landmarks(source)) is not None:
        say(f"{stages.folder}: an unfinished tracking, continued")
        return track
    # What follows from landmarks that are gone is of no use.
    stages.remove()
    for path in (folder / LANDMARKS_FILE for folder in (out, *stages.of_other_settings())):
        if (track := stored_landmarks(path, source, detector.model_sha256)) is not None:
            say(f"{path}: landmarks of this video, reused")
            break
    if track is None:
        count = max(one.num_frames for one in probe_streams(video))
        if count == 1:
            raise UserError(f"{video.path}: a single picture; an avatar needs a video, half a minute or more")
        task = bars.add_task("landmarks", total=count or None)

        def advance() -> None:
            if bars.tasks[task].finished:  # small faces and posters take another pass
                bars.reset(task)
            bars.advance(task)

        with without_native_chatter():
            track = detector.detect(video, advance)
        track.source = source
    check_face_found(track, video.path)
    track = single_shot(track, video.path)
    check_face_found(track, video.path)
    stages.save_landmarks(track)
    return track


def _write_labels(
    clip: Clip, fit: HeadFit, completion: Completion, writer: SequenceWriter, bars: Progress
) -> Iterator[np.ndarray]:
    """Add every frame's label image to the dataset and yield its overlay."""
    track = clip.track
    for i, path in enumerate(bars.track(clip.image_paths, description="write")):
        regions = completion.labels.regions([i])[0]
        writer.add_labels(completion.labels.image(i, clip.mattes[i], regions))
        detected = track.landmarks[i, fit.landmark_numbers, :2] if track.used[i] else None
        yield overlay_frame(read_rgb(path), regions, detected, fit.landmarks[i].numpy())
