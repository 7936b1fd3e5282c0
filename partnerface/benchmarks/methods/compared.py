"""What is compared: methods of `configs/method` with some settings changed, on people."""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from partnerface.benchmarks.method_under_test import ORACLE, OURS, PEER, PEER_RAYS
from partnerface.data.formats.auto import recognised
from partnerface.data.formats.foreign import DatasetFolder
from partnerface.data.formats.layout import TRANSFORMS
from partnerface.data.formats.nerface import NERFACE
from partnerface.data.formats.nersemble import NERSEMBLE
from partnerface.data.protocols import TEST, NamedProtocol
from partnerface.data.splits import SAMPLE_SUFFIX
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.errors import UserError

DEFORMATION = "model.avatar.deformation.init_args"

FIT_FLAGS = {PEER: (PEER_RAYS, "--model.avatar.init_args.bfloat16=true")}
"""Flags that let a method do its best under a small budget: rays of NeRFace cost a hundred times as much."""

TESTED_ON_SAMPLES = (PEER,)
"""Methods that render too slowly for all test frames: tested on samples of some splits alone. Others are
tested on these samples too."""

SAMPLED_SPLITS = ("temporal", "unseen_expression")
SAMPLED_SPLITS_OF = {"c": ("temporal", "unseen_combination", "larger")}
"""The splits that are sampled, of all people and of the embedded subjects that have others."""


@dataclass(frozen=True)
class MethodVariant:
    """A method with or without changed settings.

    Attributes:
        method: name of its file in ``configs/method``.
        overrides: names and values of changed settings; a name without a dot is one of the deformation.
    """

    method: str
    overrides: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """The variant as given on the command line.

        >>> str(MethodVariant("part_deformation", (("parts", "4"),)))
        'part_deformation:parts=4'
        """
        return ":".join([self.method, *(f"{name}={value}" for name, value in self.overrides)])

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit`` for the method's settings."""
        changed = [
            f"--{name}={value}" if "." in name else f"--{DEFORMATION}.{name}={value}"
            for name, value in self.overrides
        ]
        return [*FIT_FLAGS.get(self.method, ()), *changed]

    def test_flags(
        self, sample_frames: int, sampled_splits: Sequence[str] = SAMPLED_SPLITS, alone: bool = False
    ) -> list[str]:
        """Flags of ``partnerface test``.

        Args:
            sample_frames: length of the sample of each split.
            sampled_splits: splits whose samples a method that renders slowly is tested on.
            alone: test on these samples alone, whatever the method.
        """
        flags = [f"--data.sample_frames={sample_frames}"]
        only = ",".join(name + SAMPLE_SUFFIX for name in sampled_splits)
        alone |= self.method in TESTED_ON_SAMPLES
        return [*flags, f"--data.test_splits=[{only}]"] if alone else flags


COMPARED = (
    *(OURS, "part_networks", "lit_part_blendshapes"),
    *("global_deformation", "global_deformation_equal_compute", "lit_global_deformation"),
    *("skinning_only", ORACLE),
)
"""The methods that the claims compare."""


def parse_variants(text: str, known: Sequence[str]) -> list[MethodVariant]:
    """Parse the flag ``--methods``.

    Args:
        text: names with commas between; ``NAME:key=value`` changes a setting, ``NAME:key=1/2/4`` makes a
            variant of each value.
        known: names of all methods.

    Raises:
        UserError: a method does not exist, or a change is not ``key=value``.

    >>> [str(v) for v in parse_variants("a,b:parts=1/2", ["a", "b"])]
    ['a', 'b:parts=1', 'b:parts=2']
    """
    found: dict[MethodVariant, None] = {}
    for entry in text.split(","):
        name, *settings = entry.strip().split(":")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(known)}"
            raise UserError(f"--methods: no method '{name}'; {hint}")
        options = [_options(name, setting) for setting in settings]
        found |= {MethodVariant(name, overrides): None for overrides in itertools.product(*options)}
    return list(found)


def _options(method: str, setting: str) -> list[tuple[str, str]]:
    name, equals, values = setting.partition("=")
    if not name or not equals or not all(values.split("/")):
        raise UserError(f"--methods: '{setting}' of {method} is not key=value")
    return [(name, value) for value in values.split("/")]


SYNTHETIC = "synthetic_"
FOLDING, FOLDING_SIZE, FOLDING_FRAMES = "c", 256, 340
"""The subject whose face folds, its size in pixels, at which folds are seen, and the length of its clip."""
READER_OPTIONS = ("coupling", "tracking_noise", "frames", "size")
"""What may follow the name of an embedded subject, see `SyntheticReader`."""
OWN_HEAD_MODEL = ":head_model="
"""What may follow the folder of a dataset, before a FLAME file of its own."""
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

    def under(self, protocol: NamedProtocol) -> Resolution:
        """The sizes under a protocol: those of its pictures, and of clips that are long enough."""
        size = protocol.image_size
        tested = protocol.tested or 0
        frames = self.frames if size is None else max(PROTOCOL_FRAMES, int(tested) + PROTOCOL_TRAINED)
        return Resolution(size or self.synthetic, frames, size or self.clip)


PROTOCOL_FRAMES, PROTOCOL_TRAINED = 540, 190
"""Length of an embedded subject's clip under a protocol, and how many of its frames train at least."""


@dataclass(frozen=True)
class BenchmarkSubject:
    """One person.

    Attributes:
        name: name in tables and file names.
        spec: the subject as given on the command line; of a dataset the folder alone.
        root: folder of the dataset.
        size: longer side of the training frames in pixels.
        frames: length of the clip of an embedded subject; 0 for all others.
        video: the video from which the dataset is to be tracked; None for all others.
        options: further settings of an embedded subject: ``coupling`` and ``tracking_noise``.
        protocol: protocol of the literature; None for the division of the dataset.
        automatic: it is of another system, or tracked with another head model than Anny: its reader and its
            head model are found out.
        head_model: file of the head model that it was tracked with, for FLAME.
        divided: its own system has divided it, into a test of one split.
    """

    name: str
    spec: str
    root: Path
    size: int
    frames: int = 0
    video: Path | None = None
    options: tuple[tuple[str, float], ...] = ()
    protocol: NamedProtocol | None = None
    automatic: bool = False
    head_model: Path | None = None
    divided: bool = False

    @property
    def embedded(self) -> str:
        """Name of the embedded subject, such as ``a``."""
        return self.spec.partition(":")[0].removeprefix(SYNTHETIC)

    @property
    def is_synthetic(self) -> bool:
        """Whether it is one of the embedded subjects."""
        return self.frames > 0

    @property
    def protocol_name(self) -> str | None:
        """Name of the protocol of the literature, if any."""
        return None if self.protocol is None else self.protocol.name

    @property
    def sampled_splits(self) -> Sequence[str]:
        """Test splits whose samples a method that renders slowly is tested on."""
        redivided = self.protocol is not None and self.protocol.tested is not None
        if self.divided or redivided:
            return (TEST,)
        return SAMPLED_SPLITS_OF.get(self.embedded if self.is_synthetic else "", SAMPLED_SPLITS)

    @property
    def data_config(self) -> str:
        """Name of the configuration file of the dataset's reader."""
        automatic = "data/auto" if self.automatic else "data/partnerface"
        return "data/synthetic" if self.is_synthetic else automatic

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit`` that select the dataset."""
        flags = {"root": self.root}
        if self.is_synthetic:
            flags |= {"subject": self.embedded, "frames": self.frames, "size": self.size}
            flags |= {name: f"{value:g}" for name, value in self.options}
        if self.head_model is not None:
            flags["head_model"] = self.head_model
        reader = [f"--data.reader.init_args.{name}={value}" for name, value in flags.items()]
        size = [] if self.protocol and self.protocol.image_size else [f"--data.image_size={self.size}"]
        return [*reader, *size, *([f"--protocol={self.protocol.name}"] if self.protocol else [])]

    def track_words(self) -> list[str]:
        """The command that tracks the video; empty for all but videos."""
        return ["partnerface", "track", str(self.video), "--out", str(self.root)] if self.video else []

    def prepare(self, run: Callable[[list[str]], None]) -> None:
        """Render or track the dataset unless it exists; ``run`` runs a command, given its words."""
        if self.is_synthetic:
            # Here and not in the runs, because those that start together would each render it.
            settings = self.root, self.embedded, self.frames, self.size
            SyntheticReader(*settings, **dict(self.options)).read()
        elif self.video is not None:
            run(self.track_words())


def parse_subjects(
    text: str,
    out: Path,
    resolution: Resolution,
    protocol: NamedProtocol | None = None,
    head_model: Path | None = None,
) -> list[BenchmarkSubject]:
    """Parse the flag ``--subjects``.

    Args:
        text: embedded subjects such as ``synthetic_a``, folders of tracked datasets, ours or of another
            system, and videos, with commas between. ``synthetic_c:tracking_noise=0.1`` changes what
            `READER_OPTIONS` names, ``FOLDER:head_model=FILE`` is a dataset with a FLAME file of its own.
        out: folder of the benchmark; new datasets go into its folder ``datasets``.
        resolution: sizes of the training data.
        protocol: protocol of the literature by which all are measured.
        head_model: FLAME file of the datasets that were tracked with FLAME and have none of their own.

    Raises:
        UserError: a subject or its FLAME file does not exist, or two share a name.
    """
    found: dict[str, BenchmarkSubject] = {}
    for spec in (entry.strip() for entry in text.split(",")):
        subject = replace(_subject(spec, out, resolution, head_model), protocol=protocol)
        if subject.name in found:
            raise UserError(
                f"--subjects: {found[subject.name].spec} and {spec} are both called {subject.name}"
            )
        found[subject.name] = subject
    return list(found.values())


def _subject(spec: str, out: Path, resolution: Resolution, head_model: Path | None) -> BenchmarkSubject:
    embedded = [f"{SYNTHETIC}{name}" for name in SUBJECTS]
    base, *settings = spec.split(":")
    if base in embedded:
        size, frames = resolution.synthetic, resolution.frames
        if base == SYNTHETIC + FOLDING and resolution == Resolution():
            size, frames = FOLDING_SIZE, FOLDING_FRAMES
        options = _reader_options(spec, settings)
        size, frames = int(options.pop("size", size)), int(options.pop("frames", frames))
        name = spec.replace(":", "_")
        root = out / DATASETS / name
        return BenchmarkSubject(name, spec, root, size, frames=frames, options=tuple(options.items()))
    folder, has_own, file = spec.partition(OWN_HEAD_MODEL)
    path = Path(folder)
    name = re.sub(r"[^\w-]+", "_", path.stem if path.is_file() else path.name)
    if folder and path.is_dir():
        subject = BenchmarkSubject(name, folder, relative(path), resolution.clip)
        return _dataset(subject, head_model, Path(file) if has_own else None)
    if path.is_file() and not has_own:
        return BenchmarkSubject(name, spec, out / DATASETS / name, resolution.clip, video=relative(path))
    raise UserError(_no_subject(spec))


def _no_subject(spec: str) -> str:
    embedded = ", ".join(f"{SYNTHETIC}{name}" for name in SUBJECTS)
    return f"--subjects: '{spec}' is neither {embedded}, a tracked dataset nor a video"


def _dataset(subject: BenchmarkSubject, shared: Path | None, own: Path | None) -> BenchmarkSubject:
    """A tracked dataset, with what its format says of it.

    Args:
        subject: its folder.
        shared: FLAME file of all datasets that were tracked with FLAME.
        own: that of this one alone.
    """
    folder = DatasetFolder(subject.root)
    try:
        found, _ = recognised(folder)
    except UserError as error:
        raise UserError(f"{_no_subject(subject.spec)} ({error})") from error
    if found is None:
        tables = [folder.table(TRANSFORMS).get(name) for name in ("head_model", "splits")]
        record, splits = (table if isinstance(table, dict) else {} for table in tables)
        of_flame = record.get("name") == "flame"
        # A converted dataset keeps the splits of the system that it comes from.
        subject = replace(subject, automatic=record.get("name") != "anny", divided=TEST in splits)
    elif found is NERSEMBLE:
        raise UserError(
            f"--subjects: {subject.spec} has no frames to test on, for the benchmark keeps them; submit to "
            "it by partnerface export nersemble"
        )
    else:
        # NeRFace's tracker has expressions of its own, which FLAME's would only stand for.
        of_flame = found is not NERFACE and found.uses_head_model(folder)
        subject = replace(subject, automatic=True, divided=found.divides(folder))
    if own is not None and not of_flame:
        raise UserError(
            f"--subjects: {subject.spec} is read without a FLAME file; leave out {OWN_HEAD_MODEL}{own}"
        )
    given = (own or shared) if of_flame else None
    if given is not None and not given.is_file():
        raise UserError(f"--subjects: {subject.spec}: there is no head model file {given}")
    return replace(subject, head_model=given)


def _reader_options(spec: str, settings: Sequence[str]) -> dict[str, float]:
    """Values of `READER_OPTIONS` in ``name=value``; the reader knows their ranges.

    Raises:
        UserError: one is something else.
    """
    options = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            options[name] = int(value) if name in ("frames", "size") else float(value)
        except ValueError:
            name = ""
        if name not in READER_OPTIONS:
            raise UserError(
                f"--subjects {spec}: '{setting}' is not NAME=NUMBER of {', '.join(READER_OPTIONS)}"
            )
    return options


def relative(path: Path) -> Path:
    """The path relative to the working directory if it lies inside: valid in copies of the directory."""
    inside = os.path.relpath(path)
    return path if inside.startswith(os.pardir) else Path(inside)
