"""BenchmarkSubject: whose avatar is made: an embedded person, a tracked dataset or a video."""

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
    """How large subjects are.

    Attributes:
        synthetic: width and height of the embedded subjects' frames in pixels.
        frames: length of their clips.
        clip: longer side of a video's training frames in pixels.
    """

    synthetic: int = 128
    frames: int = 240
    clip: int = 256


@dataclass(frozen=True)
class BenchmarkSubject:
    """One person.

    Attributes:
        name: in tables.
        spec: as on the command line.
        root: the dataset's folder.
        size: longer side of the training frames in pixels.
        frames: length of an embedded subject's clip; 0 for a video, whose length is its own.
        video: the video that the dataset is tracked from, if it is not there yet.
    """

    name: str
    spec: str
    root: Path
    size: int
    frames: int = 0
    video: Path | None = None

    @property
    def is_synthetic(self) -> bool:
        return self.frames > 0

    @property
    def data_config(self) -> str:
        """Name of the configuration file."""
        return "data/synthetic" if self.is_synthetic else "data/partnerface"

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit``."""
        flags = {"root": self.root}
        if self.is_synthetic:
            flags |= {"subject": self.name.removeprefix(SYNTHETIC), "frames": self.frames, "size": self.size}
        reader = [f"--data.reader.init_args.{name}={value}" for name, value in flags.items()]
        return [*reader, f"--data.image_size={self.size}"]

    def track_words(self) -> list[str]:
        """The command that makes the dataset; none where it needs none."""
        return ["partnerface", "track", str(self.video), "--out", str(self.root)] if self.video else []

    def prepare(self, run: Callable[[list[str]], None]) -> None:
        """Render or track the dataset; one that is there is reused.

        Args:
            run: runs a command.
        """
        if self.is_synthetic:
            # Runs that start together would each render it.
            SyntheticReader(self.root, self.name.removeprefix(SYNTHETIC), self.frames, self.size).read()
        elif self.video is not None:
            run(self.track_words())


def parse_subjects(text: str, out: Path, resolution: Resolution) -> list[BenchmarkSubject]:
    """Read subjects as they stand on the command line.

    Args:
        text: ``synthetic_a``, ``synthetic_b``, folders of tracked datasets and videos, commas between.
        out: folder of the benchmark, where datasets are made.
        resolution: how large they are.

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
    """A path that means the same in another copy of the working directory, if it lies inside."""
    inside = os.path.relpath(path)
    return path if inside.startswith(os.pardir) else Path(inside)
