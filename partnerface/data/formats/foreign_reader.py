"""ForeignReader: another system's dataset as a `TrackedSequence`; what it lacks is made once and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partnerface.cameras.pinhole import Camera
from partnerface.compute.threads import single_thread
from partnerface.data.completion.complete import HeadTrack, complete_sequence
from partnerface.data.completion.matte_files import write_mattes
from partnerface.data.completion.matting import MediaPipeMatting
from partnerface.data.completion.overlapping_faces import drawable_head
from partnerface.data.formats.conventions import standing_camera
from partnerface.data.formats.foreign import (
    HEAD_MODEL,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    VideoFrameFile,
)
from partnerface.data.formats.foreign_values import ADVICE
from partnerface.data.formats.layout import resolve_inside
from partnerface.data.formats.plausibility import head_middle, impossible_frames, left_out_report
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
from partnerface.data.splits import SPLIT_PROTOCOL, assign_splits
from partnerface.errors import UserError, missing_software
from partnerface.files.images import read_pixels, write_image
from partnerface.files.plain_values import read_json_table
from partnerface.files.video_reading.read import read_video
from partnerface.files.whole_files import continued_folder, move_into_place
from partnerface.head_models.dataset_head import DatasetHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.runs.progress import shown_progress

VERSION = 5
"""Version of the kept files; older ones are made again."""
RECORD, ARRAYS = "sequence.json", "sequence.npz"
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
ASSUMED = "dataset %s: assumed: %s"
logger = logging.getLogger(__name__)


def read_foreign(
    folder: DatasetFolder,
    format_: Format,
    given: GivenHeadModel,
    on_checked: Callable[[], None] = lambda: None,
) -> TrackedSequence:
    """Read a dataset of another system and complete it, or take what was kept of the last time.

    Mattes, labels and all else that the dataset lacks lie in ``.cache/foreign`` inside it, together with the
    head model that it was read with. Pictures that were made before the process was ended are kept too.

    Args:
        folder: the dataset.
        format_: its format.
        given: the head model that the user gives.
        on_checked: called once its files are read and found right, before what is lacking is made.

    Raises:
        UserError: the dataset or the head model is wrong, or the folder cannot be written.
    """
    key = _key(folder, format_, given)
    with suppress(UserError, KeyError, TypeError, ValueError, IndexError):
        kept = _kept(folder, key)
        on_checked()
        return kept
    frames = format_.read(folder, given)
    frames = _with_splits(frames, _check(folder, format_, frames))
    on_checked()
    for guess in frames.guesses:
        logger.warning(ASSUMED, folder.root, guess)
    try:
        folder.cache.parent.mkdir(exist_ok=True)
        partial = continued_folder(folder.cache, key)
        try:
            sequence = _completed(folder, frames, partial)
            _keep(folder, partial, sequence, key, frames)
            (partial / key).unlink()
            move_into_place(partial, folder.cache, {entry.name for entry in folder.cache.glob("*")})
        except Exception:
            # An interrupt leaves it, to be continued the next time.
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(
            missing_software(error)
            or f"{folder.cache}: cannot be written ({error.strerror or error}); copy the dataset elsewhere"
        ) from error
    return _kept(folder, key)


def _check(folder: DatasetFolder, format_: Format, frames: ForeignFrames) -> dict[int, str]:
    """Find cameras in other units or axes than the format has, before minutes of work on them.

    Returns:
        Frames whose tracking is impossible, with the reason.
    """
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
    middle = head_middle(frames.head_model, frames.head.identity)
    left_out = impossible_frames(camera, frames.head, torch.ones(len(camera)), middle=middle)
    trained = range(len(camera)) if frames.splits is None else frames.splits["train"]
    if left_out.keys() >= set(trained):
        raise UserError(f"{folder.root}: no frame can be used: {left_out_report(left_out)}; {has}")
    return left_out


def _with_splits(frames: ForeignFrames, left_out: dict[int, str]) -> ForeignFrames:
    """The frames with splits, ours where the dataset has none: what is made for training asks for them."""
    if frames.splits is not None:
        return frames
    weights = torch.ones(len(frames.images))
    weights[list(left_out)] = 0
    splits = assign_splits(weights, frames.fps, frames.head.expression)
    return replace(frames, splits=splits, split_protocol=SPLIT_PROTOCOL)


def _key(folder: DatasetFolder, format_: Format, given: GivenHeadModel) -> str:
    digest = hashlib.sha256(f"{VERSION} {format_.name}\n{folder.fingerprint}\n".encode())
    if given.path is not None and format_.uses_head_model(folder) and given.digest is not None:
        digest.update(bytes.fromhex(given.digest))
    return digest.hexdigest()


def _completed(folder: DatasetFolder, frames: ForeignFrames, partial: Path) -> TrackedSequence:
    camera, head = standing_camera(frames.camera, frames.head)
    images = _pictures(frames.images, partial / "images", "Decoding pictures")
    if isinstance(frames.mattes, list):
        mattes = _pictures(frames.mattes, partial / "mattes", "Decoding mattes")
    else:
        mattes = _made_mattes(folder, frames, images, partial / "mattes")
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
        _assume(
            *(folder, frames),
            f"labels and shell, from the {len(drawn.faces)} smallest of {len(frames.head_model.faces)} faces "
            "of the head model: they overlap many times",
        )
    labels = partial / "labels"
    done, steps = len([*labels.glob("[0-9]*.png")]), 2 * len(images)
    # On a busy machine torch's threads wait for each other.
    with (
        shown_progress(f"Completing {folder.root.name}", steps, done) as advance,
        single_thread(),
        torch.no_grad(),
    ):
        sequence = complete_sequence(tracked, drawn, labels, advance, continued=True)
    return replace(
        sequence,
        head_model_record=head_model_record(frames.head_model),
        times=None if frames.times is None else frames.times.double(),
    )


def _assume(folder: DatasetFolder, frames: ForeignFrames, guess: str) -> None:
    frames.guesses.append(guess)
    logger.warning(ASSUMED, folder.root, guess)


def _pictures(files: list[Path | VideoFrameFile], place: Path, title: str) -> list[Path]:
    """Picture files; frames of videos are decoded into ``place`` first, unless they are there."""
    videos: dict[Path, dict[int, Path]] = {}
    paths: list[Path] = []
    for index, file in enumerate(files):
        if isinstance(file, VideoFrameFile):
            paths.append(place / f"{index:05d}.png")
            if not paths[-1].is_file():
                videos.setdefault(file.video, {})[file.number] = paths[-1]
        else:
            paths.append(file)
    if videos:
        place.mkdir(exist_ok=True)
        missing = sum(map(len, videos.values()))
        with shown_progress(title, len(paths), len(paths) - missing) as advance:
            for video, wanted in videos.items():
                for number, frame in enumerate(read_video(video)):
                    if number in wanted:
                        write_image(wanted.pop(number), frame.image)
                        advance()
                if wanted:
                    raise UserError(f"{video}: has no frame {min(wanted)}; the video is cut short")
    return paths


def _made_mattes(folder: DatasetFolder, frames: ForeignFrames, images: list[Path], place: Path) -> list[Path]:
    """Mattes from the pictures' alpha, where the format has it or it shows background; else a network's."""
    assert frames.splits is not None
    train = frames.splits["train"]
    paths = [place / f"{index:05d}.png" for index in range(len(images))]
    if frames.mattes == "alpha" or any(_shows_background(images[i]) for i in train):
        place.mkdir(exist_ok=True)
        missing = [i for i, path in enumerate(paths) if not path.is_file()]
        with shown_progress("Making mattes", len(images), len(images) - len(missing)) as advance:
            for i in missing:
                write_image(paths[i], _alpha(images[i]))
                advance()
        return paths
    words = "mattes, for its pictures are opaque and it has no others: MediaPipe's segmentation makes them"
    _assume(folder, frames, words)
    write_mattes(MediaPipeMatting(), images, paths, train)
    return paths


def _shows_background(path: Path) -> bool:
    pixels = read_pixels(path)
    return pixels.shape[2] == 4 and bool(pixels[..., 3].min() < 255)


def _alpha(path: Path) -> np.ndarray:
    pixels = read_pixels(path)
    if pixels.shape[2] != 4:
        raise UserError(f"{path}: has no alpha channel, unlike other pictures; convert the dataset again")
    return pixels[..., 3]


def _keep(
    folder: DatasetFolder, partial: Path, sequence: TrackedSequence, key: str, frames: ForeignFrames
) -> None:
    head_model = frames.head_model
    # Landmarks that are embedded later are those of the file that it was made from.
    replace(head_model.asset, surface=head_model.surface).save(partial / HEAD_MODEL)
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
        "landmarks": len(head_model.asset.landmark_faces),
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
    if len(head_model.asset.landmark_faces) != record["landmarks"]:
        raise ValueError("of a head whose landmarks were not embedded yet")
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
