"""The head model that a dataset was tracked with, from its record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from partnerface.data.sequence import HeadModelRecord, TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.ict_facekit import IctFaceKitHead
from partnerface.head_models.open_head_model import PACKAGED_HEADS


def recorded_head_model(sequence: TrackedSequence, path: Path | None) -> HeadModel:
    """The head model that a dataset names; whether it is the same build, `check_head_model` says.

    Args:
        sequence: a tracked video.
        path: file of the head model; needed for FLAME.

    Raises:
        UserError: the dataset was tracked with FLAME and there is no file, or with an unknown head model.
    """
    record = sequence.head_model_record
    found = named_head_model(record, path)
    if found is None:
        if record.name == "flame":
            raise UserError(
                f"dataset {sequence.name}: tracked with FLAME; give its file as --head_model FILE"
            )
        raise UserError(
            f"dataset {sequence.name}: tracked with the head model {record.name!r}, which partnerface does "
            f"not have; those it has are {', '.join(map(repr, PACKAGED_HEADS))} and 'flame'"
        )
    return found


def named_head_model(record: HeadModelRecord, path: Path | None) -> HeadModel | None:
    """The head model of a record's name, of as many components; None without a file that it needs.

    Args:
        record: what a dataset says of its head model.
        path: file of the head model; of ICT-FaceKit it is read where the packaged one is another.
    """
    if record.name == "flame":
        if path is None:
            return None
        plain = FlameHead(path, record.num_identity, record.num_expression)
        if head_model_record(plain) != record:
            with suppress(UserError):
                toothed = FlameHead(path, record.num_identity, record.num_expression, teeth=True)
                return toothed if head_model_record(toothed) == record else plain
        return plain
    if record.name not in PACKAGED_HEADS:
        return None
    packaged = PACKAGED_HEADS[record.name]()
    if record.name == "ict_facekit" and path is not None and head_model_record(packaged) != record:
        return IctFaceKitHead(path)
    return packaged
