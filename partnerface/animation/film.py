"""Films of an avatar: each frame is rendered once, kept, and written as a video or as pictures."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from partnerface.animation.channels import channel_image, require_parts, side_by_side
from partnerface.animation.film_output import FilmOutput
from partnerface.animation.frame_folder import KEPT, FrameFolder
from partnerface.avatar.method import AvatarMethod
from partnerface.compute.frame_record import FrameRecord
from partnerface.data.drivers.driver import Driver
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.files.containers import Sound, has_sound_track
from partnerface.files.images import read_rgb
from partnerface.files.videos import frame_rate, write_video
from partnerface.files.whole_files import NotWritten, whole_file
from partnerface.runs.engine import locked
from partnerface.runs.progress import shown_progress


@dataclass
class Shots(Driver):
    """Views that are listed one by one.

    Attributes:
        views: F = 1 each.
        fps: views per second.
    """

    views: Sequence[View]
    fps: float

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, place: int) -> View:
        return self.views[place]


def make_film(
    avatar: AvatarMethod,
    driver: Driver,
    output: FilmOutput,
    *,
    frames: range | None = None,
    beside: Sequence[Path] | None = None,
    sound: bool | Path = True,
    keep_frames: bool = False,
) -> list[Path]:
    """Render views of an avatar and write them; a call that was stopped is continued by the same call.

    Finished frames lie in ``NAME.frames`` beside the film until it is written.

    Args:
        avatar: who is shown.
        driver: the views.
        output: where to, and what is shown.
        frames: numbers of the views to show, by default all.
        beside: pictures of all views, to be shown on the left.
        sound: whether the driver's sound comes along, or a file whose sound belongs to the views from the
            first on; for videos.
        keep_frames: leave the frames where they are.

    Returns:
        The written files and folders, one for each channel.

    Raises:
        UserError: the avatar has no such channel, the sound cannot be read, there is a file of sound for
            pictures, or something cannot be written.
    """
    require_parts(output.channels, avatar)
    numbers = range(len(driver)) if frames is None else frames
    if output.single and len(numbers) > 1:
        raise UserError(
            f"--out {output.path}: one picture cannot hold {len(numbers)}; give a video or a folder's name"
        )
    track = _sound_of(driver, numbers, sound, output)
    folder = FrameFolder(output.path.with_name(f"{output.path.name}.frames"), output.channels)
    folder.make()
    with locked(folder.root):
        shown = "alone" if beside is None else "beside the driver"
        folder.begin({**output.words(), "layout": shown, **digests(avatar, driver)})
        todo = folder.missing(numbers)
        with shown_progress("Rendering", len(numbers), len(numbers) - len(todo)) as advance:
            for number in todo:
                _render_frame(avatar, driver[number], number, output, folder, beside)
                advance()
        try:
            written = _write(folder, numbers, output, driver, track, keep_frames)
        except NotWritten as error:
            raise NotWritten(f"{error}; {KEPT}") from error
        if not keep_frames:
            folder.remove()
    return written


def _render_frame(
    avatar: AvatarMethod,
    view: View,
    number: int,
    output: FilmOutput,
    folder: FrameFolder,
    beside: Sequence[Path] | None,
) -> None:
    view = view.to(avatar.identity.device)
    view = view if output.size is None else view.resized(*output.size)
    picture = avatar.render(view, with_parts="parts" in output.channels)
    for channel in output.channels:
        image = channel_image(channel, picture, view, output.background, as_data=output.encoding is None)
        if beside is not None and channel == "rgb":
            image = side_by_side(read_rgb(beside[number]), image)
        folder.keep(channel, number, image)


def _sound_of(driver: Driver, numbers: range, sound: bool | Path, output: FilmOutput) -> Sound | None:
    path = driver.sound if sound is True else sound or None
    if isinstance(sound, Path):
        output.require_sound(sound)
    if path is None or output.encoding is None or not has_sound_track(path):
        return None
    rate, start = frame_rate(driver.fps), driver.sound_start if sound is True else 0.0
    return Sound(path, start + float(numbers[0] / rate), float(len(numbers) / rate))


def _write(
    folder: FrameFolder, numbers: range, output: FilmOutput, driver: Driver, sound: Sound | None, keep: bool
) -> list[Path]:
    for channel, path in output.paths().items():
        if output.single:
            with whole_file(path) as partial:
                shutil.copyfile(folder.path(channel, numbers[0]), partial)
        elif output.encoding is None:
            folder.write_pictures(channel, path, numbers, keep)
        else:
            with shown_progress(f"Writing {path.name}", len(numbers)) as advance:
                frames = _counted(folder.frames(channel, numbers), advance)
                write_video(path, frames, driver.fps, sound)
    return list(output.paths().values())


Item = TypeVar("Item")


def _counted(items: Iterable[Item], advance) -> Iterator[Item]:
    for item in items:
        yield item
        advance()


def digests(avatar: AvatarMethod, driver: Driver) -> Mapping[str, str]:
    """What tells this avatar and these views from all others."""
    views = hashlib.sha256(repr(driver.fps).encode())
    for number in range(len(driver)):
        # Nothing that is shown depends on the rig, whose last digits depend on the device.
        _add_record(views, replace(driver[number], rig=None))
    return {"avatar": avatar.digest(), "driver": views.hexdigest()}


def _add_record(digest, record: FrameRecord) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, FrameRecord):
            _add_record(digest, value)
        else:
            digest.update(field.name.encode())
            digest.update(_bytes(value) if isinstance(value, Tensor) else repr(value).encode())


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().numpy().tobytes()
