"""open_driver: from what a user names (a motion, a file, a folder, a video) to the views of an avatar."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from partnerface.avatar.method import AvatarMethod
from partnerface.data.drivers.expression_transfer import carried_recording, has_named_expressions
from partnerface.data.drivers.live_link_face import read_live_link_face
from partnerface.data.drivers.motions import MOTIONS
from partnerface.data.drivers.performance import Performance, Recording, evenly_spaced, make_performance
from partnerface.data.drivers.table import read_table
from partnerface.data.drivers.tracked import tracked_recording
from partnerface.data.drivers.transfer import TransferredPerformance, TransferSettings
from partnerface.data.formats.auto import AutoReader
from partnerface.data.formats.layout import TRANSFORMS
from partnerface.data.recorded_head_model import recorded_head_model
from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.files.containers import has_sound_track, opened_video
from partnerface.files.downloads import cache_folder
from partnerface.files.plain_values import read_yaml
from partnerface.files.video_reading.read import first_time
from partnerface.files.video_reading.source import VideoSource, parse_section
from partnerface.files.whole_files import one_after_another
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.stages import LANDMARKS_FILE
from partnerface.tracking.tracker import track_video

TABLES = (".json", ".npz", ".npy")

TRACKED_SIZE = 256
"""Side of the head crop that a driving video is tracked in, pixels: nobody trains on its pictures."""


_MOTION, _PHONE, _TABLE = "a built-in motion", "a Live Link Face file", "a table of expressions"
_DATASET, _VIDEO = "a dataset", "a video"
_READ_BY = {
    "seconds": (_MOTION,),
    "seed": (_MOTION,),
    "fps": (_PHONE, _TABLE),
    "angles": (_PHONE,),
    "flip": (_PHONE,),
    "head_model": (_DATASET,),
    "clip": (_VIDEO,),
}
"""Kinds of drivers that read an option; all read those that are not listed."""


@dataclass(frozen=True)
class DrivingOptions:
    """How a driver is read and carried over; one flag each on the command line.

    Attributes:
        pose: head pose: ``relative`` to the performer's mean pose, ``absolute`` as before the performer's
            camera, or ``still``.
        neutral: the performer's neutral expression: ``auto``, ``mean``, or the number of a frame.
        range: how far expressions may leave those that the avatar was trained on; inf for no limit.
        smooth: cut-off frequency in Hz of a low-pass filter; none by default.
        torso: shoulders ``follow`` the head as in training, stay ``still``, or are those ``tracked`` in the
            avatar's own video.
        keep_distance: keep the head's distance from the camera.
        fps: frames per second of a table or a Live Link Face file that does not say, or says it wrong.
        angles: unit of the angles in a Live Link Face file: ``auto`` decides by their size.
        flip: head angles of a Live Link Face file that turn the other way: any of yaw, pitch and roll, with
            commas between.
        seconds: length of a built-in motion.
        seed: seed of a built-in motion.
        head_model: file of the head model that a driving dataset was tracked with, where that is neither the
            avatar's nor one of the package.
        clip: section A:B of a driving video in seconds, from A up to but without B; nothing else of it is
            looked at.
    """

    pose: Literal["relative", "absolute", "still"] = "relative"
    neutral: str = "auto"
    range: float = 1.0
    smooth: float | None = None
    torso: Literal["follow", "still", "tracked"] = "follow"
    keep_distance: bool = True
    fps: float | None = None
    angles: Literal["auto", "radians", "degrees"] = "auto"
    flip: str = ""
    seconds: float | None = None
    seed: int = 0
    head_model: Path | None = None
    clip: str | None = None

    def transfer(self) -> TransferSettings:
        return TransferSettings(self.pose, self.range, self.torso, self.keep_distance)

    def refuse_unread(self, kind: str) -> None:
        """Refuse what a driver of that kind does not read.

        Raises:
            UserError: it was set.
        """
        for name, kinds in _READ_BY.items():
            if kind not in kinds and getattr(self, name) != getattr(DrivingOptions, name):
                raise UserError(f"--{name}: is for {' or '.join(kinds)}; the driver is {kind}: leave it out")


def open_driver(
    text: str,
    avatar: AvatarMethod,
    options: DrivingOptions | None = None,
    *,
    run: Path | None = None,
    say: Callable[[str], None] = print,
) -> TransferredPerformance:
    """The performance that a text names, carried over to an avatar.

    Args:
        text: ``talk``, ``range_of_motion`` or ``idle``; ``own``, the video that the avatar was made from;
            or the path of a video, of the folder of a tracked dataset or of a run (its dataset), of a Live
            Link Face ``.csv``, or of a table of expressions (``.json``, ``.npz``, ``.npy``).
        avatar: who shows it.
        options: how it is read and carried over.
        run: the avatar's run folder, in which ``own`` looks for the dataset.
        say: receives the performance's notes, a line each.

    Raises:
        UserError: there is no such driver, or it cannot be used; one line says why.
    """
    options = options or DrivingOptions()
    settings = options.transfer()
    performance = read_performance(text, avatar, options, run, say)
    for note in performance.notes:
        say(note)
    return TransferredPerformance(performance, avatar.driven(), settings)


def read_performance(
    text: str,
    avatar: AvatarMethod,
    options: DrivingOptions,
    run: Path | None = None,
    say: Callable[[str], None] = print,
) -> Performance:
    """The performance that a text names, relative to its performer; see `open_driver`."""
    recording = _recording(text, avatar, options, run, say)
    return make_performance(recording, avatar.head_model, options.neutral, options.smooth)


def _recording(
    text: str, avatar: AvatarMethod, options: DrivingOptions, run: Path | None, say: Callable[[str], None]
) -> Recording:
    head_model = avatar.head_model
    path = Path(text)
    if text in MOTIONS or path.suffix.lower() == ".csv":
        named = _reader_of_names(text, head_model)
        recording = _named(text, named, options)
        return recording if named is head_model else carried_recording(recording, named, head_model)
    if text == "own" or path.is_dir():
        options.refuse_unread(_DATASET)
        reader = dataset_reader(run if text == "own" else path, options.head_model)
        return _tracked(reader.read(), avatar, options)
    path = _existing(text)
    if path.suffix.lower() in TABLES:
        options.refuse_unread(_TABLE)
        return read_table(path, head_model, fps=options.fps)
    options.refuse_unread(_VIDEO)
    source = VideoSource(path, section=None if options.clip is None else parse_section(options.clip))
    opened_video(path).close()  # sound alone is no driver
    sound = path if has_sound_track(path) else None
    content = source.digest()[:16]
    folder = cache_folder() / "driving_videos" / f"{content}_{head_model.asset.checksum()}"
    say(f"{path}: its tracked dataset is kept in {folder}")
    with one_after_another(folder):
        # The tracker works on the CPU, and on all frames, for a performance may lose none.
        fitted = copy.deepcopy(head_model).cpu()
        sequence = track_video(
            source, folder, size=TRACKED_SIZE, head_model=fitted, say=say, max_frames=sys.maxsize
        )
    recording = replace(_tracked(sequence, avatar, options), name=path.name, sound=sound)
    if source.section is not None:
        tracked = LandmarkTrack.load(folder / LANDMARKS_FILE).stream
        recording.sound_start = first_time(replace(source, stream=tracked if tracked >= 0 else None))
    # Frames of a phone keep no even pace, but sound does.
    return recording if sequence.times is None else evenly_spaced(recording, sequence.times)


def _reader_of_names(text: str, head_model: HeadModel) -> HeadModel:
    """The head model with which names are read: Anny for an avatar without names, if it can be carried over.

    A range of motion shows the head model's own expressions, named or not.
    """
    own = text == "range_of_motion" or has_named_expressions(head_model)
    return head_model if own or not len(head_model.asset.landmark_faces) else AnnyHead()


def _named(text: str, head_model: HeadModel, options: DrivingOptions) -> Recording:
    """A motion or a recording of a phone, whose expressions are found by name."""
    if motion := MOTIONS.get(text):
        options.refuse_unread(_MOTION)
        return motion(head_model, options.seconds, options.seed)
    options.refuse_unread(_PHONE)
    return read_live_link_face(
        _existing(text), head_model, fps=options.fps, angles=options.angles, flip=options.flip
    )


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        names = ", ".join(MOTIONS)
        raise UserError(f"--driver {text}: no such file or folder, nor own or a motion ({names})")
    if not path.is_file():
        raise UserError(f"--driver {text}: not a file")
    return path


def _tracked(sequence: TrackedSequence, avatar: AvatarMethod, options: DrivingOptions) -> Recording:
    neutral = avatar.default_view().head.expression[0].cpu()
    own = avatar.identity.cpu(), neutral
    head_model, tracked_with = avatar.head_model, None
    if sequence.head_model_record != head_model_record(head_model):
        tracked_with = sequence.head_model or recorded_head_model(sequence, options.head_model)
    return tracked_recording(sequence, head_model, own=own, tracked_with=tracked_with)


def dataset_reader(folder: Path | None, head_model: Path | None = None) -> AutoReader:
    """Reads a dataset's folder itself, or the dataset that the avatar of a run's folder was made from.

    Args:
        folder: the dataset, ours or of another system, or a run.
        head_model: file of the head model that the dataset was tracked with; by default the run's.
    """
    if folder is None:
        raise UserError(
            "--driver own: only a run folder names its dataset; give the dataset's folder instead"
        )
    if (folder / TRANSFORMS).is_file() or not (config := folder / "config.yaml").is_file():
        return AutoReader(folder, head_model)
    try:
        content = read_yaml(config)
        settings = content["data"]["reader"]["init_args"]
        told, own = Path(content["run_dir"]), settings.get("head_model")
        root = _found_from(folder, told, Path(settings["root"]))
        if not root.is_absolute() and not root.is_dir():
            raise UserError(
                f"{config}: names the dataset {root}, relative to the folder in which training ran; give the "
                "dataset's folder as --driver"
            )
        return AutoReader(root, head_model or (own and _found_from(folder, told, Path(own))))
    except (KeyError, TypeError) as error:
        raise UserError(f"{config}: names no dataset; give the dataset's folder as --driver") from error


def _found_from(folder: Path, told: Path, path: Path) -> Path:
    """Where a path in the configuration of a run leads now.

    Args:
        folder: the run. It may have been moved since it was trained, with a dataset inside, or be named from
            another working directory than that of its training.
        told: the run as it was named in training.
        path: a path as it was named in training.
    """
    if path.is_relative_to(told) and (inside := folder / path.relative_to(told)).exists():
        return inside
    here = folder.resolve()
    if not told.is_absolute() and here.parts[-len(told.parts) :] == told.parts:
        there = here.parents[len(told.parts) - 1] / path
        if there.exists():
            return there
    # The folder may have been named in another way than what lies in it.
    return path if path.exists() or not (inside := folder / path.name).exists() else inside
