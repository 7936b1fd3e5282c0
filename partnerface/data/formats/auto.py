"""AutoReader: finds out whose format a dataset is in, and reads it."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch

from partnerface.data.formats.foreign import HEAD_MODEL, DatasetFolder, Format, GivenHeadModel
from partnerface.data.formats.foreign_reader import read_foreign
from partnerface.data.formats.imavatar import IMAVATAR
from partnerface.data.formats.insta import INSTA
from partnerface.data.formats.layout import FORMAT_NAME, TRANSFORMS, resolve_inside
from partnerface.data.formats.metrical_tracker import FLASHAVATAR, METRICAL_TRACKER
from partnerface.data.formats.nerface import NERFACE
from partnerface.data.formats.nersemble import NERSEMBLE
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.vhap import VHAP
from partnerface.data.recorded_head_model import named_head_model
from partnerface.data.sequence import HeadModelRecord, SequenceReader, TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.dataset_head import DatasetHead
from partnerface.head_models.head_model import HeadModel

FORMATS = (VHAP, INSTA, IMAVATAR, NERFACE, METRICAL_TRACKER, FLASHAVATAR, NERSEMBLE)
"""Formats of other systems."""

AUTO = "auto"
MOST_FOLDERS, SHOWN_FOLDERS = 30, 5
"""Folders of a folder that is no dataset that are looked at, and those that are named."""


class AutoReader(SequenceReader):
    """Reads a dataset of our own or of another system; says whose it took it for, and why.

    Args:
        root: the dataset's folder. Datasets of other systems get a folder ``.cache`` inside, with mattes,
            labels and the head model that they were read with.
        head_model: the FLAME file that the dataset was tracked with, where it names no other head model.
        format: ``auto``, or the name of a format where a folder could be of several.
    """

    def __init__(self, root: Path, head_model: Path | None = None, format: str = AUTO) -> None:
        self.root, self.format = Path(root), format
        self.head_model = None if head_model is None else Path(head_model)

    def read(self) -> TrackedSequence:
        """Read and check the dataset; see `read_foreign`.

        Raises:
            UserError: the folder is of no known format, or of several; or the dataset or the head model is
                wrong.
        """
        folder = DatasetFolder(self.root)
        found, reason = recognised(folder, self.format)
        title = found.title if found else FORMAT_NAME
        words = f"{title}, since {reason}"
        if found is not None:
            # Of what cannot be read the error is the only line.
            taken = partial(_say, f"dataset {self.root}: taken for {words}")
            sequence = read_foreign(folder, found, GivenHeadModel(self.head_model), taken)
            sequence = replace(sequence, format=found.name, recognised_by=words)
        else:
            sequence = PartnerfaceReader(self.root).read()
            found_model = known_head_model(folder, sequence.head_model_record, self.head_model)
            sequence = replace(sequence, head_model=found_model, recognised_by=words)
        return sequence


@cache
def _say(line: str) -> None:
    """Print a line to standard error, the first time only: a command reads its dataset more than once."""
    print(f"partnerface: {line}", file=sys.stderr)


def known_head_model(
    folder: DatasetFolder, record: HeadModelRecord, path: Path | None = None
) -> HeadModel | None:
    """The head model that a dataset in our format names; None where it cannot be had.

    `convert` leaves it beside the dataset where no other file holds it.

    Raises:
        UserError: ``path`` is another file than that of the dataset.
    """
    given = named_head_model(record, path)
    fits = given is not None and head_model_record(given) == record
    for place in (folder.root, folder.cache):
        with suppress(UserError):
            stored = DatasetHead(resolve_inside(place, HEAD_MODEL, place))
            if head_model_record(stored) != record:
                continue
            # A head with a static offset or of another size has another checksum than the file it is made of.
            if path is None or given is None or _same_shapes(stored, given):
                return stored
    if given is not None and path is not None and not fits:
        found = head_model_record(given)
        raise UserError(
            f"head model {path}: is {found.name} {found.version} (checksum {found.checksum}), but the "
            f"dataset was made with {record.name} {record.version} (checksum {record.checksum})"
        )
    return given if fits else None


def _same_shapes(one: HeadModel, other: HeadModel) -> bool:
    """True if both have the same expressions, up to their size."""
    bases = [model.expression_basis.flatten().double() for model in (one, other)]
    if bases[0].shape != bases[1].shape:
        return False
    return bool(torch.cosine_similarity(bases[0], bases[1], dim=0) > 1 - 1e-6)


def recognised(folder: DatasetFolder, name: str = AUTO) -> tuple[Format | None, str]:
    """The format of a folder, None for our own, and why it is.

    Args:
        folder: the dataset.
        name: a format that was chosen, or ``auto``.

    Raises:
        UserError: the folder is missing, of no known format, of several, or not of the chosen one.
    """
    if not folder.root.is_dir():
        raise UserError(f"{folder.root}: no such folder of a dataset")
    formats = {FORMAT_NAME: None, **{format_.name: format_ for format_ in FORMATS}}
    if name not in (AUTO, *formats):
        raise UserError(
            f"--format (fit: --data.reader.format) {name}: no such format; choose "
            f"{', '.join((AUTO, *formats))}"
        )
    if name != AUTO:
        return formats[name], "it was chosen"
    found = _readings(folder)
    if len(found) > 1:
        readings = "; ".join(f"{format_.name} ({reason})" for format_, reason in found.items() if format_)
        raise UserError(
            f"{folder.root}: may be of several formats: {readings}; choose one by "
            "--format (fit: --data.reader.format)"
        )
    if not found:
        if inside := _datasets_inside(folder.root):
            raise UserError(f"{folder.root}: is no dataset, but holds some; give one of them: {inside}")
        titles = ", ".join(format_.title for format_ in FORMATS)
        raise UserError(
            f"{folder.root}: is no dataset of a known format ({FORMAT_NAME}, {titles}); see docs/datasets.md "
            "for the files of each"
        )
    return next(iter(found.items()))


def _readings(folder: DatasetFolder) -> dict[Format | None, str]:
    """The formats that a folder may be of, None for our own, and why."""
    if folder.has(TRANSFORMS) and folder.table(TRANSFORMS).get("format") == FORMAT_NAME:
        return {None: f"{TRANSFORMS} says so"}
    return {format_: reason for format_ in FORMATS if (reason := format_.recognise(folder)) is not None}


def _datasets_inside(root: Path) -> str:
    """The first folders in a folder that are datasets, in words."""
    found: list[str] = []
    for place in sorted(path for path in root.iterdir() if path.is_dir())[:MOST_FOLDERS]:
        with suppress(UserError):
            if _readings(DatasetFolder(place)):
                found.append(place.name)
    more = f" and {len(found) - SHOWN_FOLDERS} more" if len(found) > SHOWN_FOLDERS else ""
    return ", ".join(found[:SHOWN_FOLDERS]) + more


def read_sequence(
    path: Path | str, format: str | None = None, head_model: Path | str | None = None
) -> TrackedSequence:
    """Read a tracked dataset of our own or of another system.

    Args:
        path: the dataset's folder; those of other systems get a folder ``.cache`` inside.
        format: the name of a format; found out if None.
        head_model: the FLAME file that the dataset was tracked with, where it names no other head model.

    Returns:
        The sequence. ``sequence.head_model(sequence.head).vertices`` are the posed heads ``[T, V, 3]`` in
        metres, ``sequence.camera.project`` of them pixels ``[T, V, 2]`` with centres at +0.5.

    Raises:
        UserError: the dataset or the head model is wrong; the message names the file.
    """
    file = None if head_model is None else Path(head_model)
    return AutoReader(Path(path), file, format or AUTO).read()
