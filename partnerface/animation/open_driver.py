"""open_driver: from what a user names (a motion, a file, a folder, a video) to the views of an avatar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from partnerface.avatar.method import AvatarMethod
from partnerface.data.drivers.live_link_face import read_live_link_face
from partnerface.data.drivers.motions import MOTIONS
from partnerface.data.drivers.performance import Performance, Recording, make_performance
from partnerface.data.drivers.table import read_table
from partnerface.data.drivers.tracked import tracked_recording
from partnerface.data.drivers.transfer import TransferredPerformance, TransferSettings
from partnerface.data.formats.layout import TRANSFORMS
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.errors import UserError
from partnerface.files.downloads import cache_folder
from partnerface.files.plain_values import read_yaml
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import has_sound
from partnerface.files.whole_files import one_after_another
from partnerface.tracking.tracker import track_video

TABLES = (".json", ".npz", ".npy")

TRACKED_SIZE = 256
"""Side of the head crop that a driving video is tracked in, pixels: nobody trains on its pictures."""


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
        fps: frames per second of a file that does not say, or says it wrong.
        angles: unit of the angles in a Live Link Face file: ``auto`` decides by their size.
        flip: head angles of a Live Link Face file that turn the other way: any of yaw, pitch and roll, with
            commas between.
        seconds: length of a built-in motion.
        seed: seed of a built-in motion.
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

    def transfer(self) -> TransferSettings:
        return TransferSettings(self.pose, self.range, self.torso, self.keep_distance)


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
    if motion := MOTIONS.get(text):
        return motion(head_model, options.seconds, options.seed)
    path = Path(text)
    if text == "own" or path.is_dir():
        return _tracked(dataset_folder(run if text == "own" else path), avatar)
    if not path.exists():
        names = ", ".join(MOTIONS)
        raise UserError(f"--driver {text}: no such file or folder, nor own or a motion ({names})")
    if not path.is_file():
        raise UserError(f"--driver {text}: not a file")
    if path.suffix.lower() == ".csv":
        return read_live_link_face(
            path, head_model, fps=options.fps, angles=options.angles, flip=options.flip
        )
    if path.suffix.lower() in TABLES:
        return read_table(path, head_model, fps=options.fps)
    sound = path if has_sound(path) else None
    folder = cache_folder() / "driving_videos" / VideoSource(path).digest()[:16]
    say(f"{path}: its tracked dataset is kept in {folder}")
    with one_after_another(folder):
        track_video(path, folder, size=TRACKED_SIZE, head_model=head_model, say=say)
    recording = _tracked(folder, avatar)
    return replace(recording, name=path.name, sound=sound)


def _tracked(folder: Path, avatar: AvatarMethod) -> Recording:
    neutral = avatar.default_view().head.expression[0].cpu()
    own = avatar.identity.cpu(), neutral
    return tracked_recording(PartnerfaceReader(folder).read(), avatar.head_model, own=own)


def dataset_folder(folder: Path | None) -> Path:
    """A dataset's folder itself, or the dataset that the avatar of a run's folder was made from."""
    if folder is None:
        raise UserError(
            "--driver own: only a run folder names its dataset; give the dataset's folder instead"
        )
    if (folder / TRANSFORMS).is_file() or not (config := folder / "config.yaml").is_file():
        return folder
    try:
        return Path(read_yaml(config)["data"]["reader"]["init_args"]["root"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{config}: names no dataset; give the dataset's folder as --driver") from error
