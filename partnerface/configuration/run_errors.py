"""Errors of Lightning and of checkpoints that come from the user's values, as one line each."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from partnerface.errors import UserError

_OF_THE_CONSTRUCTOR = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, KeyError)
"""What it raises about its arguments beside its own exception; ImportError: a strategy that is an extra."""


@contextmanager
def named_trainer_values(constructing: bool = False) -> Iterator[None]:
    """Whatever Lightning refuses about the trainer's values is a matter of the configuration.

    Args:
        constructing: only the trainer is made inside, so that every error is about a value of it.

    Raises:
        UserError: with Lightning's reason.
    """
    refusals = (MisconfigurationException, *(_OF_THE_CONSTRUCTOR if constructing else ()))
    try:
        yield
    except UserError:
        raise
    except refusals as error:
        raise UserError(f"trainer: {error}") from error


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
