"""The head model that a dataset was tracked with, from its record."""

from __future__ import annotations

from pathlib import Path

from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.ict_facekit import IctFaceKitHead
from partnerface.head_models.open_head_model import PACKAGED_HEADS


def recorded_head_model(sequence: TrackedSequence, path: Path | None, flag: str) -> HeadModel:
    """The head model that a dataset names; whether it is the same build, `check_head_model` says.

    Args:
        sequence: a tracked video.
        path: file of the head model; needed for FLAME.
        flag: the command line's flag for ``path``, for messages.

    Raises:
        UserError: the dataset was tracked with FLAME and there is no file, or with an unknown head model.
    """
    record = sequence.head_model_record
    if record.name == "flame":
        if path is None:
            raise UserError(f"dataset {sequence.name}: tracked with FLAME; give its file as {flag} FILE")
        heads = (
            FlameHead(path, record.num_identity, record.num_expression, teeth) for teeth in (False, True)
        )
        plain = next(heads)
        count = len(plain.template_vertices)
        return plain if len(sequence.shell_thickness) == count else next(heads)
    if record.name not in PACKAGED_HEADS:
        raise UserError(
            f"dataset {sequence.name}: tracked with the head model {record.name!r}, which partnerface does "
            f"not have; those it has are {', '.join(map(repr, PACKAGED_HEADS))} and 'flame'"
        )
    head_model = PACKAGED_HEADS[record.name]()
    if record.name == "ict_facekit" and path is not None and head_model_record(head_model) != record:
        return IctFaceKitHead(path)
    return head_model
