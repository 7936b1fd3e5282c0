"""FrameFolder: the finished frames of a film, kept until it is written, so that a stopped one continues."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from partnerface.animation.channels import CHANNELS
from partnerface.errors import UserError
from partnerface.files.images import read_pixels, write_image
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import NotWritten, hidden_folder, replace_text
from partnerface.runs.engine import LOCK_FILE

SETTINGS_FILE = "settings.json"
KEPT = "what was done is kept; make room and repeat the command"


class FrameFolder:
    """Frames of one film as PNG files, a folder for each channel, beside the film.

    Args:
        root: the folder.
        channels: what is kept of each frame.
    """

    def __init__(self, root: Path, channels: Sequence[str]) -> None:
        self.root, self.channels = root, channels

    def make(self) -> None:
        """Make the folder, where it is not there.

        Raises:
            UserError: it cannot be made.
        """
        try:
            self.root.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.root}: cannot be made ({error.strerror}); choose another --out"
            ) from error

    def begin(self, settings: Mapping[str, str]) -> None:
        """Prepare the folder for a film with these settings; frames of other settings are removed.

        Raises:
            UserError: it holds what is no frame of a film.
        """
        path = self.root / SETTINGS_FILE
        if path.is_file():
            before = read_json_table(path, "remove the folder")
            changed = [name for name in settings if before.get(name) != settings[name]]
            if not changed:
                self._make_channels()  # a call that was stopped at its end may have moved one away
                return
            what = ", ".join(changed)
            print(f"{self.root}: its frames are of other settings ({what}); starting anew", file=sys.stderr)
            self._clear()
        if any(e.suffix != ".partial" and e.name != LOCK_FILE for e in self.root.iterdir()):
            raise UserError(f"{self.root}: holds other files; remove it or choose another --out")
        self._make_channels()
        replace_text(path, json.dumps(dict(settings), indent=1) + "\n")

    def _make_channels(self) -> None:
        for channel in self.channels:
            (self.root / channel).mkdir(exist_ok=True)

    def path(self, channel: str, number: int) -> Path:
        """Where a channel of a frame is kept."""
        return self.root / channel / f"{number:05d}.png"

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those of the frames that are not finished."""
        return [n for n in numbers if not all(self.path(c, n).is_file() for c in self.channels)]

    def keep(self, channel: str, number: int, image: np.ndarray) -> None:
        """Keep a channel of a frame.

        Raises:
            NotWritten: it cannot be written.
        """
        try:
            write_image(self.path(channel, number), image)
        except NotWritten as error:
            raise NotWritten(f"{error}; {KEPT}") from error

    def frames(self, channel: str, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """The pixels of some frames, one after another."""
        for number in numbers:
            yield read_pixels(self.path(channel, number))

    def write_pictures(self, channel: str, folder: Path, numbers: Sequence[int], keep: bool) -> None:
        """Make a channel's frames the pictures of the film: moved there, or copied to keep them.

        Raises:
            NotWritten: they cannot be written.
        """
        finished, partial = self.root / channel, hidden_folder(folder)
        names = {self.path(channel, number).name for number in numbers}
        try:
            if keep:
                partial.mkdir()
                for name in names:
                    shutil.copyfile(finished / name, partial / name)
            else:
                for path in finished.iterdir():
                    if path.name not in names:
                        path.unlink()
            if folder.is_dir():
                folder.rmdir()  # empty, or it would have been refused
            (partial if keep else finished).rename(folder)
        except OSError as error:
            raise NotWritten(f"{folder}: cannot be written ({error.strerror})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder with everything that a film keeps in it, and nothing else."""
        self._clear()
        (self.root / LOCK_FILE).unlink(missing_ok=True)
        if not any(self.root.iterdir()):
            self.root.rmdir()

    def _clear(self) -> None:
        for channel in CHANNELS:
            shutil.rmtree(self.root / channel, ignore_errors=True)
        (self.root / SETTINGS_FILE).unlink(missing_ok=True)
