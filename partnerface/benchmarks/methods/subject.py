"""BenchmarkSubject: the person that methods are compared on: embedded, a tracked dataset or a video."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from partnerface.data.formats.layout import TRANSFORMS
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.errors import UserError

SYNTHETIC = "synthetic_"
DATASETS = "datasets"


@dataclass(frozen=True)
class Resolution:
    """Sizes of the training data.

    Attributes:
        synthetic: width and height of the frames of embedded subjects in pixels.
        frames: length of the clips of embedded subjects.
        clip: longer side of the training frames of datasets and videos in pixels.
    """

    synthetic: int = 128
    frames: int = 240
    clip: int = 256


@dataclass(frozen=True)
class BenchmarkSubject:
    """One person.

    Attributes:
        name: name in tables and file names.
        spec: the subject as given on the command line.
        root: folder of the dataset.
        size: longer side of the training frames in pixels.
        frames: length of the clip of an embedded subject; 0 for all others.
        video: the video from which the dataset is to be tracked; None for all others.
    """

    name: str
    spec: str
    root: Path
    size: int
    frames: int = 0
    video: Path | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether it is one of the embedded subjects."""
        return self.frames > 0

    @property
    def data_config(self) -> str:
        """Name of the configuration file of the dataset's reader."""
        return "data/synthetic" if self.is_synthetic else "data/partnerface"

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit`` that select the dataset."""
        flags = {"root": self.root}
        if self.is_synthetic:
            flags |= {"subject": self.name.removeprefix(SYNTHETIC), "frames": self.frames, "size": self.size}
        reader = [f"--data.reader.init_args.{name}={value}" for name, value in flags.items()]
        return [*reader, f"--data.image_size={self.size}"]

    def track_words(self) -> list[str]:
        """The command that tracks the video; empty for all but videos."""
        return ["partnerface", "track", str(self.video), "--out", str(self.root)] if self.video else []

    def prepare(self, run: Callable[[list[str]], None]) -> None:
        """Render or track the dataset unless it exists.

        Args:
            run: function that runs a command, given its words.
        """
        if self.is_synthetic:
            # Here and not in the runs, because those that start together would each render it.
            SyntheticReader(self.root, self.name.removeprefix(SYNTHETIC), self.frames, self.size).read()
        elif self.video is not None:
            run(self.track_words())


def parse_subjects(text: str, out: Path, resolution: Resolution) -> list[BenchmarkSubject]:
    """Parse the flag ``--subjects``.

    Args:
        text: ``synthetic_a``, ``synthetic_b``, folders of tracked datasets and videos, with commas between.
        out: folder of the benchmark; new datasets go into its folder ``datasets``.
        resolution: sizes of the training data.

    Raises:
        UserError: a subject does not exist, or two share a name.
    """
    found: dict[str, BenchmarkSubject] = {}
    for spec in (entry.strip() for entry in text.split(",")):
        subject = _subject(spec, out, resolution)
        if subject.name in found:
            raise UserError(
                f"--subjects: {found[subject.name].spec} and {spec} are both called {subject.name}"
            )
        found[subject.name] = subject
    return list(found.values())


def _subject(spec: str, out: Path, resolution: Resolution) -> BenchmarkSubject:
    if spec in (f"{SYNTHETIC}a", f"{SYNTHETIC}b"):
        return BenchmarkSubject(
            spec, spec, out / DATASETS / spec, resolution.synthetic, frames=resolution.frames
        )
    path = Path(spec)
    name = re.sub(r"[^\w-]+", "_", path.stem if path.is_file() else path.name)
    if spec and (path / TRANSFORMS).is_file():
        return BenchmarkSubject(name, spec, relative(path), resolution.clip)
    if path.is_file():
        return BenchmarkSubject(name, spec, out / DATASETS / name, resolution.clip, video=relative(path))
    raise UserError(
        f"--subjects: '{spec}' is neither {SYNTHETIC}a, {SYNTHETIC}b, a tracked dataset nor a video"
    )


def relative(path: Path) -> Path:
    """The path relative to the working directory if it lies inside: valid in copies of the directory."""
    inside = os.path.relpath(path)
    return path if inside.startswith(os.pardir) else Path(inside)
