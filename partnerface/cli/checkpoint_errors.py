"""What is wrong with a checkpoint, told apart from what is wrong with a run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from partnerface.user_error import UserError

_RESTORING = "checkpoint_connector.py"
"""The file of Lightning that takes a checkpoint apart."""


@contextmanager
def named_checkpoint(checkpoint: str | None) -> Iterator[None]:
    """Whatever a checkpoint's contents raise while they are restored is the checkpoint's fault.

    Args:
        checkpoint: its path, for the message; None if there is none.

    Raises:
        UserError: naming the checkpoint.
    """
    try:
        yield
    except Exception as error:
        if checkpoint is None or isinstance(error, UserError) or not _while_restoring(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"checkpoint {checkpoint}: cannot be restored ({reason}); take an earlier one or train again"
        ) from error


def _while_restoring(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(f.filename.endswith(_RESTORING) and f.name.startswith(("restore", "resume")) for f in frames)


def require_data_only(weights_only: bool | None) -> None:
    """Refuse a configuration that asks for checkpoints with code.

    Raises:
        UserError: it does.
    """
    if weights_only is False:
        raise UserError("weights_only: must be true; a checkpoint holds data, its code is never run")
