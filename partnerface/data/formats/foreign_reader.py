"""ForeignReader: another system's dataset as a `TrackedSequence`; what it lacks is made once and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.complete import HeadTrack, complete_sequence
from partnerface.data.completion.matting import MediaPipeMatting
from partnerface.data.completion.overlapping_faces import drawable_head
from partnerface.data.formats.conventions import standing_camera
from partnerface.data.formats.foreign import (
    ADVICE,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    VideoFrameFile,
)
from partnerface.data.formats.layout import resolve_inside
from partnerface.data.formats.plausibility import impossible_frames, left_out_report
from partnerface.data.formats.values import (
    checked_splits,
    coverage_of_splits,
    float_array,
    head_model_of,
    load_arrays,
    positive,
    table,
)
from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.files.images import read_pixels, read_rgb, write_image
from partnerface.files.plain_values import read_json_table
from partnerface.files.video_reading.read import read_video
from partnerface.files.whole_files import hidden_folder, move_into_place, remove_abandoned
from partnerface.head_models.dataset_head import DatasetHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.runs.progress import shown_progress

VERSION = 2
"""Version of the kept files; older ones are made again."""
RECORD, ARRAYS, HEAD_MODEL = "sequence.json", "sequence.npz", "head_model.npz"
SHORTEST_FOCAL, LONGEST_FOCAL, FARTHEST_CENTRE = 0.1, 100.0, 20.0
"""Focal length, and distance of the principal point from the middle, in sizes of the picture. Pictures cut
out of large ones have the largest; those of intrinsics in other units lie beyond."""
PATH_LISTS = ("image_paths", "matte_paths", "label_paths")
SHAPES = {
    "identity": (-1,),
    "expression": (-1, -1),
    "joint_rotations": (-1, -1, 3, 3),
    "rotation": (-1, 3, 3),
    "translation": (-1, 3),
    "intrinsics": (-1, 4),
    "camera_to_world": (-1, 3, 4),
    "frame_weights": (-1,),
    "torso_motion": (-1, 2, 3),
    "shell_thickness": (-1,),
}
HEAD_ARRAYS = ("identity", "expression", "joint_rotations", "rotation", "translation")
logger = logging.getLogger(__name__)


def read_foreign(folder: DatasetFolder, format_: Format, given: GivenHeadModel) -> TrackedSequence:
    """Read a dataset of another system and complete it, or take what was kept of the last time.

    Mattes, labels and all else that the dataset lacks lie in ``.cache/foreign`` inside it, together with the
    head model that it was read with.

    Raises:
        UserError: the dataset or the head model is wrong, or the folder cannot be written.
    """
    key = _key(folder, format_, given)
    with suppress(UserError, KeyError, TypeError, ValueError, IndexError):
        return _kept(folder, key)
    frames = format_.read(folder, given)
    _check(folder, format_, frames)
    for guess in frames.guesses:
        logger.warning("dataset %s: assumed: %s", folder.root, guess)
    partial = hidden_folder(folder.cache)
    try:
        folder.cache.parent.mkdir(exist_ok=True)
        remove_abandoned(folder.cache)
        partial.mkdir()
        sequence = _completed(folder, frames, partial)
        _keep(folder, partial, sequence, key, frames)
        move_into_place(partial, folder.cache, {entry.name for entry in folder.cache.glob("*")})
    except OSError as error:
        raise UserError(
            f"{folder.cache}: cannot be written ({error.strerror or error}); copy the dataset elsewhere"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _kept(folder, key)


def _check(folder: DatasetFolder, format_: Format, frames: ForeignFrames) -> None:
    """Find cameras in other units or axes than the format has, before minutes of work on them."""
    if frames.splits is not None and not frames.splits.get("train"):
        raise UserError(f"{folder.root}: no frame is for training; {ADVICE}")
    camera = frames.camera
    focal, centre = camera.intrinsics[:, :2], camera.intrinsics[:, 2:]
    size = centre.new_tensor([camera.width, camera.height])
    # A principal point that is a share of the size, with rows that may have been counted from the bottom.
    share = ((centre >= 0) & (centre <= 1)).T
    lowest = (centre[:, 1] - camera.height + 0.5).abs() <= 0.5
    corner = share[0] & (share[1] | lowest)
    wrong = corner | ((centre / size - 0.5).abs() > FARTHEST_CENTRE).any(1)
    wrong |= ((focal / size < SHORTEST_FOCAL) | (focal / size > LONGEST_FOCAL)).any(1)
    has = f"{format_.title} has {format_.camera}; {ADVICE}"
    if wrong.any():
        first = int(wrong.nonzero()[0, 0])
        values = ", ".join(f"{value:.4g}" for value in camera.intrinsics[first].tolist())
        raise UserError(
            f"{folder.root}: fx, fy, cx, cy of frame {frames.frame_names[first]} are {values} pixels in "
            f"pictures of {camera.width}x{camera.height}; {has}"
        )
    middle = frames.head_model.identity_vertices(frames.head.identity.float()).mean(0).double()
    left_out = impossible_frames(camera, frames.head, torch.ones(len(camera)), middle=middle)
    trained = range(len(camera)) if frames.splits is None else frames.splits["train"]
    if left_out.keys() >= set(trained):
        raise UserError(f"{folder.root}: no frame can be used: {left_out_report(left_out)}; {has}")


def _key(folder: DatasetFolder, format_: Format, given: GivenHeadModel) -> str:
    digest = hashlib.sha256(f"{VERSION} {format_.name}\n{folder.fingerprint}\n".encode())
    if given.path is not None:
        with suppress(OSError):
            status = given.path.stat()
            digest.update(f"{given.path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _completed(folder: DatasetFolder, frames: ForeignFrames, partial: Path) -> TrackedSequence:
    camera, head = standing_camera(frames.camera, frames.head)
    images = _pictures(frames.images, partial / "images", "Decoding pictures")
    if frames.mattes is None or frames.mattes == "alpha":
        mattes = _made_mattes(images, frames.mattes, partial / "mattes", folder)
    else:
        assert isinstance(frames.mattes, list)
        mattes = _pictures(frames.mattes, partial / "mattes", "Decoding mattes")
    tracked = HeadTrack(
        name=folder.root.absolute().name,
        image_paths=images,
        matte_paths=mattes,
        camera=camera,
        head=head,
        fps=frames.fps,
        times=None if frames.times is None else frames.times.float(),
        splits=frames.splits,
        split_protocol=frames.split_protocol,
        torso_follows_head=True,
    )
    drawn = drawable_head(frames.head_model)
    if drawn is not frames.head_model:
        frames.guesses.append(
            f"labels and shell, from the {len(drawn.faces)} smallest of {len(frames.head_model.faces)} faces "
            "of the head model: they overlap many times"
        )
        logger.warning("dataset %s: assumed: %s", folder.root, frames.guesses[-1])
    with shown_progress(f"Completing {folder.root.name}", len(images)) as advance, torch.no_grad():
        sequence = complete_sequence(tracked, drawn, partial / "labels", advance)
    return replace(
        sequence,
        head_model_record=head_model_record(frames.head_model),
        times=None if frames.times is None else frames.times.double(),
    )


def _pictures(files: list[Path | VideoFrameFile], place: Path, title: str) -> list[Path]:
    """Picture files; frames of videos are decoded into ``place`` first."""
    videos: dict[Path, list[tuple[int, int]]] = {}
    paths: list[Path] = []
    for index, file in enumerate(files):
        if isinstance(file, VideoFrameFile):
            videos.setdefault(file.video, []).append((file.number, index))
            paths.append(place / f"{index:05d}.png")
        else:
            paths.append(file)
    if videos:
        place.mkdir()
        with shown_progress(title, sum(map(len, videos.values()))) as advance:
            for video, wanted in videos.items():
                places = dict(wanted)
                for number, frame in enumerate(read_video(video)):
                    if number in places:
                        write_image(paths[places.pop(number)], frame.image)
                        advance()
                if places:
                    raise UserError(f"{video}: has no frame {min(places)}; the video is cut short")
    return paths


def _made_mattes(images: list[Path], source: str | None, place: Path, folder: DatasetFolder) -> list[Path]:
    place.mkdir()
    paths = [place / f"{index:05d}.png" for index in range(len(images))]
    if source == "alpha" and read_pixels(images[0]).shape[2] == 4:
        mattes: Iterator[np.ndarray] = (_alpha(path) for path in images)
    else:
        logger.warning("dataset %s: has no mattes; MediaPipe's segmentation makes them", folder.root)
        mattes = MediaPipeMatting().mattes(read_rgb(path) for path in images)
    with shown_progress("Making mattes", len(images)) as advance:
        for path, matte in zip(paths, mattes, strict=True):
            write_image(path, matte)
            advance()
    return paths


def _alpha(path: Path) -> np.ndarray:
    pixels = read_pixels(path)
    if pixels.shape[2] != 4:
        raise UserError(f"{path}: has no alpha channel, unlike the first picture; convert the dataset again")
    return pixels[..., 3]


def _keep(
    folder: DatasetFolder, partial: Path, sequence: TrackedSequence, key: str, frames: ForeignFrames
) -> None:
    frames.head_model.asset.save(partial / HEAD_MODEL)
    values = {**vars(sequence.head), **vars(sequence.camera), **vars(sequence)}
    arrays: dict[str, Any] = {name: float_array(values[name]) for name in SHAPES}
    np.savez(partial / ARRAYS, **arrays)
    root = folder.root
    cache = folder.cache

    def relative(path: Path) -> str:
        return os.path.relpath(
            cache / path.relative_to(partial) if path.is_relative_to(partial) else path, root
        )

    paths = {name: [relative(path) for path in getattr(sequence, name)] for name in PATH_LISTS}
    record = {
        "key": key,
        "frame_names": frames.frame_names,
        **paths,
        "size": [sequence.camera.width, sequence.camera.height],
        "head_model": asdict(sequence.head_model_record),
        "fps": sequence.fps,
        "times": None if sequence.times is None else sequence.times.tolist(),
        "neck_line": sequence.neck_line,
        "splits": sequence.splits,
        "split_protocol": sequence.split_protocol,
        "coverage": sequence.coverage,
        "left_out": sequence.left_out,
        "assumed": frames.guesses,
    }
    (partial / RECORD).write_text(json.dumps(record))


def _kept(folder: DatasetFolder, key: str) -> TrackedSequence:
    """What was kept. Raises whatever missing, old or odd files lead to."""
    source = resolve_inside(folder.cache, RECORD, folder.cache)
    record = read_json_table(source, "remove the folder .cache")
    if record["key"] != key:
        raise ValueError("of another state of the dataset")
    arrays = load_arrays(resolve_inside(folder.cache, ARRAYS, source), SHAPES)
    head_model = DatasetHead(resolve_inside(folder.cache, HEAD_MODEL, source))
    width, height = (int(side) for side in record["size"])
    frames = len(arrays["rotation"])
    paths = {name: [folder.file(path, source.name) for path in record[name]] for name in PATH_LISTS}
    names = [str(name) for name in record["frame_names"]]
    times = None if record["times"] is None else torch.tensor(record["times"], dtype=torch.float64)
    if {frames} != {len(names), frames if times is None else len(times), *map(len, paths.values())}:
        raise ValueError("lists of different lengths")
    return TrackedSequence(
        name=folder.root.absolute().name,
        image_paths=paths["image_paths"],
        matte_paths=paths["matte_paths"],
        label_paths=paths["label_paths"],
        camera=Camera(arrays["intrinsics"], arrays["camera_to_world"], width, height),
        head=HeadParameters(**{name: arrays[name] for name in HEAD_ARRAYS}),
        head_model_record=head_model_of(table(record["head_model"], "head_model")),
        head_model=head_model,
        fps=positive(record["fps"], "fps"),
        frame_weights=arrays["frame_weights"],
        torso_motion=arrays["torso_motion"],
        neck_line=float(record["neck_line"]),
        shell_thickness=arrays["shell_thickness"],
        splits=checked_splits(record["splits"], arrays["frame_weights"]),
        split_protocol=table(record["split_protocol"], "split_protocol"),
        coverage=coverage_of_splits(table(record["coverage"], "coverage")),
        left_out={int(frame): str(reason) for frame, reason in record["left_out"].items()},
        times=times,
        frame_names=names,
        assumed=[str(text) for text in record["assumed"]],
    )
