"""VideoSource: which pictures are the video, and how they are to be read."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from partnerface.errors import UserError
from partnerface.files.regular_files import file_size

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg"}
DEFAULT_PICTURE_FPS = 25.0
"""Frames per second of pictures, which do not say."""
MAX_FRAMES = 2000
"""Frames of a video that are used by default: more than a minute at 30 per second."""
MIN_TRACKED_FRAMES = 10
"""Frames with a face that a head can be fitted to."""

SECTION_ADVICE = "give the first and the last second, such as 12.5:40"

_NUMBER = re.compile(r"%(0?)(\d*)d")


@dataclass(frozen=True)
class VideoSource:
    """A video file, a folder of pictures, or a pattern of their names such as ``frame_%04d.png``.

    Attributes:
        path: the file, folder or pattern.
        fps: frames per second in place of the file's own times; for pictures the default is
            `DEFAULT_PICTURE_FPS`.
        stream: index of the video stream in the container; None for the first that is not a cover picture.
        quarter_turns: further turns by 90 degrees, counter-clockwise, of frames that are already upright by
            their metadata.
        section: seconds from the first frame, from which on and up to which frames are the video; all by
            default.
    """

    path: Path
    fps: float | None = None
    stream: int | None = None
    quarter_turns: int = 0
    section: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < 10_000:
            raise UserError(f"--fps {self.fps:g}: give the frames per second, for example 25")
        if self.section is not None and not 0 <= self.section[0] < self.section[1]:
            raise UserError(f"--clip {self.section[0]:g}:{self.section[1]:g}: {SECTION_ADVICE}")

    @property
    def is_pictures(self) -> bool:
        """True for a folder or a pattern, False for a single file."""
        return self.path.is_dir() or (not self.path.exists() and bool(_NUMBER.search(self.path.name)))

    @property
    def name(self) -> str:
        """A name for what is made from it."""
        path = Path(os.path.abspath(self.path))  # "." and a pattern alone have a name there
        return path.parent.name if self.is_pictures and not self.path.is_dir() else path.stem

    @property
    def files(self) -> list[Path]:
        """The video file, or the pictures in the order of their numbers.

        Raises:
            UserError: there is none.
        """
        if not self.is_pictures:
            if not self.path.is_file():
                raise UserError(f"{self.path}: no such video file, nor a folder of pictures")
            return [self.path]
        if self.path.is_dir():
            found = [p for p in self.path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES]
            # A dot at the front hides a file, such as those that macOS leaves beside each picture.
            found = [p for p in found if not p.name.startswith(".")]
        else:
            pattern = _pattern(self.path.name)
            found = [p for p in _children(self.path.parent) if pattern.fullmatch(p.name)]
        if not found:
            raise UserError(f"{self.path}: no picture there; give a video, or pictures as PNG or JPEG")
        return sorted(found, key=natural_order)

    @property
    def size_bytes(self) -> int:
        """Size of its files.

        Raises:
            UserError: there is none.
        """
        return sum(path.stat().st_size for path in self.files)

    def digest(self) -> str:
        """sha256 of what its frames depend on: the file, or names and contents of pictures, and the choices.

        Raises:
            UserError: there is none, or a file cannot be read.
        """
        contents = [(path.name, file_digest(path)) for path in self.files]
        if not self.is_pictures and self.fps is None and self.section is None:
            return contents[0][1]
        choices = (contents, self.fps, *(self.section or ()))
        return hashlib.sha256(repr(choices).encode()).hexdigest()


def parse_section(text: str) -> tuple[float, float]:
    """The section of ``12.5:40``, in seconds; an end that is left out is that of the video.

    Raises:
        UserError: it is none.
    """
    begin, colon, end = text.partition(":")
    try:
        section = float(begin or 0), float(end or math.inf)
    except ValueError as error:
        raise UserError(f"--clip {text}: {SECTION_ADVICE}") from error
    if not colon:
        raise UserError(f"--clip {text}: {SECTION_ADVICE}")
    return section


def require_enough_frames(max_frames: int) -> None:
    """Refuse a limit of frames that leaves too few to track.

    Raises:
        UserError: it is below `MIN_TRACKED_FRAMES`.
    """
    if max_frames < MIN_TRACKED_FRAMES:
        raise UserError(f"--max_frames {max_frames}: at least {MIN_TRACKED_FRAMES} are needed")


def video_source(video: VideoSource | Path) -> VideoSource:
    """A source as it is, or that of a path."""
    return video if isinstance(video, VideoSource) else VideoSource(Path(video))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        file_size(path)  # raises at a pipe
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _children(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _pattern(name: str) -> re.Pattern[str]:
    """Names that a pattern such as ``a_%04d.png`` stands for."""
    begin, place, end = name.partition(_NUMBER.search(name)[0])
    zero, width = _NUMBER.fullmatch(place).groups()
    digits = rf"\d{{{width},}}" if zero and width else r"\d+"
    return re.compile(re.escape(begin) + digits + re.escape(end))


def natural_order(path: Path) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]
