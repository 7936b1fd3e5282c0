"""Datasets of other systems: `ForeignFrames`, what readers return; the folder and head model they get."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.foreign_values import ADVICE
from partnerface.data.formats.layout import CACHE_FOLDER, CANONICAL_HEAD, resolve_inside
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.video_reading.source import file_digest
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters

SHOWN_DIGITS = 12
"""Hexadecimal digits of a checksum that are shown."""
LONGEST_NUMBER = 18
"""Digits of a number in a file's name that count."""
HEAD_MODEL = "head_model.npz"
CONVERTED = ".converted"
OUR_MARKS = ("config.yaml", "check.json", CANONICAL_HEAD, HEAD_MODEL, CONVERTED)
"""By these the folders of a run, a check, a dataset of ours and one that `convert` wrote are known."""
UNION_LIST = "sequences_*.txt"
"""VHAP writes one into a folder that joins several sequences."""
TOO_SHORT = "of a clip too short for that"
"""Ends the words of a split that is not as long as its system has it."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class ForeignFrames:
    """T frames of another system's dataset in our conventions; the world is still that of its files.

    Attributes:
        frame_names: ``T`` names, unique.
        images: ``T`` picture files, or videos and the number of the frame in them.
        mattes: ``T`` grey files, 255 is the person; ``alpha`` where the format has them in the pictures'
            fourth channel; None where there are none, unless such a channel shows background.
        camera: ``T`` cameras: OpenCV axes, metres, corner-origin pixels.
        head: ``T`` head parameters without a torso pose.
        head_model: what they pose.
        splits: frame indices by split name, as the dataset's own system divides it; None if it does not.
        split_protocol: how each split was chosen, in words.
        fps: frames per second.
        times: ``[T]`` seconds, increasing, of frames that do not follow each other evenly.
        guesses: what the files do not say and had to be assumed, in words.
    """

    frame_names: list[str]
    images: list[Path | VideoFrameFile]
    mattes: list[Path | VideoFrameFile] | str | None
    camera: Camera
    head: HeadParameters
    head_model: HeadModel
    splits: dict[str, list[int]] | None
    split_protocol: dict[str, str]
    fps: float
    times: Tensor | None = None
    guesses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class VideoFrameFile:
    """One frame of a video file."""

    video: Path
    number: int


@dataclass(frozen=True)
class Format:
    """A format of datasets.

    Attributes:
        name: by which ``--data.reader.format`` chooses it.
        title: the systems that write it.
        camera: axes and units of its cameras, in words.
        recognise: why a folder is such a dataset, in words; None if it is not.
        read: the frames of a folder with the head model that the user gives.
        uses_head_model: whether that changes anything.
        divides: whether a folder comes divided into training and test.
    """

    name: str
    title: str
    camera: str
    recognise: Callable[[DatasetFolder], str | None]
    read: Callable[[DatasetFolder, GivenHeadModel], ForeignFrames]
    uses_head_model: Callable[[DatasetFolder], bool] = lambda _: True
    divides: Callable[[DatasetFolder], bool] = lambda _: True


class DatasetFolder:
    """The folder of a dataset that may come from strangers: no file outside is read, none of endless size.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._tables: dict[str, dict] = {}

    def has(self, relative: str) -> bool:
        """True if there is such a file.

        Raises:
            UserError: that name is a folder's, a pipe's, or a link's that leads nowhere, so that what the
                dataset says in it would be left out without a word.
        """
        path = self.root / relative
        found = os.path.isfile(path)  # no error at a name that is too long for a file
        if not found and os.path.lexists(path):
            raise UserError(f"{path}: is no file, or a link that leads nowhere; copy the dataset again")
        return found

    def table(self, relative: str) -> dict:
        """The table in a JSON file, parsed once.

        Raises:
            UserError: it is missing, damaged or too large.
        """
        if relative not in self._tables:
            path = resolve_inside(self.root, relative, self.root)
            self._tables[relative] = read_json_table(path, ADVICE)
        return self._tables[relative]

    def frames(self, relative: str) -> list[dict]:
        """The list ``frames`` of a JSON file; a file's path in it is the same text, however it is written.

        Raises:
            UserError: see `table`; or it has no such list of tables.
        """
        entries = self.table(relative).get("frames")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{self.root / relative}: 'frames' is no list of frames; {ADVICE}")
        return [{key: _in_one_spelling(key, value) for key, value in entry.items()} for entry in entries]

    def file(self, relative: object, source: str, suffixes: Iterable[str] = ("",)) -> Path:
        """An existing file that the file ``source`` names, with the first suffix that fits.

        Raises:
            UserError: the path leaves the folder, or there is no such file.
        """
        parts = Path(relative).parts if isinstance(relative, str) else ()
        root, name = self.root, relative
        if self._is_union and len(parts) > 2 and parts[0] == ".." and parts[1] != "..":
            # Unions name files of the sequences beside them; those must be datasets too.
            sequence = self.root.absolute().parent / parts[1]
            if not sequence.exists():
                raise UserError(
                    f"{self.root / source}: names the sequence {parts[1]!r}, which is not beside this "
                    "folder; a union of sequences is read with their folders beside it"
                )
            if (sequence / "transforms.json").is_file():
                root, name = sequence, str(Path(*parts[2:]))
        for suffix in suffixes:
            path = resolve_inside(
                root, f"{name}{suffix}" if isinstance(name, str) else name, self.root / source
            )
            if path.is_file():
                return path
        raise UserError(f"{path}: missing, though {source} names it; {ADVICE}")

    @cached_property
    def _is_union(self) -> bool:
        return any(self.root.glob(UNION_LIST))

    def numbered(self, folder: str, suffixes: Iterable[str]) -> dict[int, Path]:
        """Files of a folder inside whose names are numbers, by number.

        Raises:
            UserError: one of them is a link that leaves the folder.
        """
        place = self.root / folder
        files = sorted(place.iterdir()) if place.is_dir() else []
        named = [path for path in files if path.stem.isdecimal() and len(path.stem) <= LONGEST_NUMBER]
        chosen = [path for path in named if path.suffix.lower() in suffixes]
        return {int(path.stem): self.file(str(path.relative_to(self.root)), folder) for path in chosen}

    @cached_property
    def fingerprint(self) -> str:
        """Text that changes when a file of the dataset does."""
        lines = []
        for root in (self.root, *self._union_members):
            for folder, folders, files in os.walk(root):
                folders[:] = sorted(name for name in folders if not _is_other(folder, name))
                for name in sorted(name for name in files if not name.startswith(".")):
                    status = os.lstat(os.path.join(folder, name))
                    lines.append(
                        f"{os.path.relpath(folder, self.root)}/{name} {status.st_size} {status.st_mtime_ns}"
                    )
        return "\n".join(lines)

    @property
    def _union_members(self) -> list[Path]:
        """Folders of the sequences beside a union that its tables name."""
        names = set()
        for table in sorted(self.root.glob("transforms*.json")) if self._is_union else ():
            with suppress(UserError):
                for entry in self.frames(table.name):
                    parts = Path(str(entry.get("file_path", ""))).parts
                    names |= {parts[1]} if len(parts) > 2 and parts[0] == ".." != parts[1] else set()
        return [self.root.absolute().parent / name for name in sorted(names)]

    @property
    def cache(self) -> Path:
        """Where derived files lie.

        Raises:
            UserError: a link leads it out of the folder.
        """
        return resolve_inside(self.root, f"{CACHE_FOLDER}/foreign", self.root)


def _in_one_spelling(key: str, value: object) -> object:
    if key.endswith("_path") and isinstance(value, str) and value:
        return posixpath.normpath(value)
    return value


def _is_other(place: str, name: str) -> bool:
    """True for a folder in a dataset that is none of it: hidden, or written there by this package."""
    named = name.startswith(".") or name == "runs"
    return named or any(os.path.isfile(os.path.join(place, name, mark)) for mark in OUR_MARKS)


@dataclass(frozen=True)
class GivenHeadModel:
    """The head model file that the user gives, for datasets that name theirs only in words.

    Attributes:
        path: a FLAME file; None where the user gave none.
    """

    path: Path | None = None

    @cached_property
    def digest(self) -> str | None:
        """SHA-256 of the file's content; None without a file that can be read."""
        with suppress(UserError):
            return None if self.path is None else file_digest(self.path)
        return None

    @property
    def assumption(self) -> str:
        """That a dataset was tracked with the file that `flame` has read, in words."""
        assert self.path is not None
        assert self.digest is not None
        return (
            f"that it was tracked with the FLAME of {self.path.name} (SHA-256 "
            f"{self.digest[:SHOWN_DIGITS]}...), for no file of it names the version"
        )

    def flame(
        self,
        folder: DatasetFolder,
        identities: int,
        expressions: int,
        static_offset: np.ndarray | None = None,
    ) -> FlameHead:
        """FLAME with as many components as a dataset has coefficients.

        Args:
            folder: the dataset.
            identities: number of identity coefficients.
            expressions: number of expression coefficients.
            static_offset: ``[V, 3]`` metres, of this person in rest pose; more rows than the file has
                vertices (the teeth that VHAP adds) are left out.

        Raises:
            UserError: no file was given, or it does not fit the dataset.
        """
        if self.path is None:
            raise UserError(
                f"{folder.root}: was tracked with FLAME, of which datasets hold no copy; give its file as "
                "--head_model FILE (fit: --data.reader.head_model FILE)"
            )
        try:
            return FlameHead(self.path, identities, expressions, static_offset=static_offset)
        except UserError as error:
            raise UserError(
                f"{error}; the dataset {folder.root} has {identities} identity and {expressions} expression "
                "coefficients; give the FLAME file that it was tracked with by --head_model (fit: "
                "--data.reader.head_model)"
            ) from error


def frame_number(path: str) -> int:
    """The last number in a file's name; -1 if there is none."""
    numbers = re.findall(r"\d+", Path(path).name.partition(".")[0])
    return int(numbers[-1][-LONGEST_NUMBER:]) if numbers else -1


def last_frames_tested(count: int, frames: int, system: str) -> tuple[dict[str, list[int]], dict[str, str]]:
    """The split of systems that test on the last frames; a short clip tests on its last fifth."""
    usual = count >= 2 * frames
    held_out = frames if usual else max(1, count // 5) if count > 1 else 0
    order = list(range(count))
    splits = {"train": order[: count - held_out], "test": order[count - held_out :]}
    words = f"the last {held_out} frames, as {system} tests"
    if not usual:
        words += f" on {frames}, {TOO_SHORT}"
    return {name: found for name, found in splits.items() if found}, {"test": words, "train": "all others"}
