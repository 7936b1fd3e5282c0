"""FilmOutput: where a film goes and what it shows, checked before anything is rendered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from partnerface.animation.channels import parse_channels
from partnerface.avatar.background import Background
from partnerface.errors import UserError
from partnerface.files.containers import has_sound_track
from partnerface.files.videos import ENCODINGS, Encoding, fault_of_encoding
from partnerface.files.whole_files import refuse_overwriting, require_writable

SMALLEST, LARGEST = 16, 2048
"""Pixels of a side."""

PICTURE_SUFFIX = ".png"


@dataclass(frozen=True)
class FilmOutput:
    """Where a film goes and what it shows.

    Attributes:
        path: a video, a ``.png`` of a single picture, or a folder of pictures, by the suffix.
        size: width and height in pixels, or None for those of the views.
        background: behind the person.
        channels: ``rgb``, ``depth``, ``normals``, ``parts``.
    """

    path: Path
    size: tuple[int, int] | None
    background: Background
    channels: tuple[str, ...] = ("rgb",)

    @classmethod
    def parse(
        cls, out: Path, size: str | None, background: str, channels: str = "rgb", driver: str | None = None
    ) -> FilmOutput:
        """Read the flags of the same names, and make the folder that the film goes to.

        Raises:
            UserError: one of them is wrong, the film would replace a file that is read, or the folder cannot
                be written.
        """
        output = cls(Path(out), parse_size(size), Background.named(background), parse_channels(channels))
        output.check()
        for path in output.paths().values():
            refuse_overwriting(path, background, driver)
        return output

    def require_sound(self, path: Path) -> None:
        """Refuse a file whose sound the film cannot have.

        Raises:
            UserError: it is missing or has no sound, would be replaced by the film, or the film is pictures.
        """
        if self.encoding is None:
            raise UserError(f"--sound {path}: pictures have none; name a video as --out, or leave it out")
        if not has_sound_track(path):
            raise UserError(f"--sound {path}: has no sound track")
        refuse_overwriting(self.path, path)

    @property
    def encoding(self) -> Encoding | None:
        """That of a video; None for pictures."""
        return ENCODINGS.get(self.path.suffix.lower())

    @property
    def single(self) -> bool:
        """True for one picture."""
        return self.path.suffix.lower() == PICTURE_SUFFIX

    def check(self) -> None:
        """Refuse what could not be written at the end.

        Raises:
            UserError: it could not.
        """
        suffix, encoding = self.path.suffix, self.encoding
        if (
            suffix
            and not self.single
            and (fault := fault_of_encoding(self.path, self.background.transparent))
        ):
            raise UserError(f"--out {fault}, or a name without a suffix for a folder of pictures")
        if self.size and encoding is not None and encoding.halves_colour and any(n % 2 for n in self.size):
            width, height = self.size
            raise UserError(f"--size {width}x{height}: {suffix} needs an even width and height")
        for path in self.paths().values():
            if path.is_dir() and (suffix or any(path.iterdir())):
                state = "is a folder" if suffix else "is not empty"
                raise UserError(f"--out {path}: {state}; choose another name, or remove it")
            if path.exists() and not suffix and not path.is_dir():
                raise UserError(f"--out {path}: is a file; choose another name for the folder")
        require_writable(self.path.parent)

    def paths(self) -> dict[str, Path]:
        """Where each channel goes: the first to ``path``, others to ``NAME_CHANNEL`` beside it."""
        first, *others = self.channels
        beside = {name: self.path.with_name(f"{self.path.stem}_{name}{self.path.suffix}") for name in others}
        return {first: self.path, **beside}

    def words(self) -> dict[str, str]:
        """What frames depend on, for comparison with an earlier call."""
        return {
            "size": "that of the views" if self.size is None else "x".join(map(str, self.size)),
            "background": self.background.digest(),
            "channels": ",".join(self.channels),
            "kind": "pictures" if self.encoding is None else "video",
        }


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Width and height of ``512`` or ``640x360``.

    Raises:
        UserError: it is neither, or too small or large.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text.strip().lower())
    if not found:
        raise UserError(f"--size {text}: give a side such as 512, or width and height such as 640x360")
    width, height = int(found[1]), int(found[2] or found[1])
    if not all(SMALLEST <= side <= LARGEST for side in (width, height)):
        raise UserError(f"--size {text}: each side must be from {SMALLEST} to {LARGEST} pixels")
    return width, height


def parse_frames(text: str | None, count: int) -> range:
    """The views of ``A:B``, from A up to but without B, of ``count`` views; either may be left out.

    Raises:
        UserError: it is no such range, or holds none of them.
    """
    if text is None:
        return range(count)
    found = re.fullmatch(r"\s*(\d{0,9}):(\d{0,9})\s*", text)
    if not found:
        raise UserError(f"--frames {text}: give a range such as 0:100")
    first, end = int(found[1] or 0), int(found[2] or count)
    if not first < end <= count:
        raise UserError(f"--frames {text}: must lie within 0:{count}, and hold a frame")
    return range(first, end)
