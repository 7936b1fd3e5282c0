"""Errors of Lightning that come from the user's values or checkpoint, as one line each."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from partnerface.avatar_files.checkpoint_file import first_reason
from partnerface.errors import UserError

_OF_THE_CONSTRUCTOR = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, KeyError)
"""What `Trainer` raises about its arguments, beside its own exception; ImportError: a missing extra."""
_RESTORING = "checkpoint_connector.py"
"""The file of Lightning that restores a run from a checkpoint."""
_WITHOUT_A_WORD = {
    # Where no terminal can ask for the login.
    "NotATerminalError": "there is no login on this machine",
    "<no message>": "the server refuses without a reason",
}
"""What wandb raises and does not explain."""


def require_budget(trainer: Mapping[str, Any]) -> None:
    """Refuse a training that nothing but its epochs ends: schedules follow a budget.

    Args:
        trainer: the trainer's part of a configuration.

    Raises:
        UserError: there is neither a number of steps nor a time, nor a callback that counts CPU seconds.
    """
    steps, time, debugging = (trainer.get(name) for name in ("max_steps", "max_time", "fast_dev_run"))
    counted = [
        callback
        for callback in trainer.get("callbacks") or []
        if callback["class_path"].endswith(".CpuBudget") and (callback.get("init_args") or {}).get("seconds")
    ]
    if not (steps is not None and steps >= 0) and not time and not counted and not debugging:
        raise UserError(
            "trainer: no budget, which the schedules follow; give --trainer.max_steps, --trainer.max_time, "
            "or a file of configs/scale"
        )


@contextmanager
def named_trainer_values(constructing: bool = False) -> Iterator[None]:
    """Turn what Lightning refuses about a value of the configuration into one line.

    Args:
        constructing: nothing but the trainer is made inside, so that every error is about its arguments.

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
    except Exception as error:
        # wandb is optional and slow to import.
        if not type(error).__module__.startswith("wandb."):
            raise
        reason = first_reason(error)
        reason = _WITHOUT_A_WORD.get(reason, reason)
        raise UserError(
            f"Weights & Biases: {reason}; log in with `wandb login`, or log to files with "
            "--trainer.logger.init_args.offline true"
        ) from error


@contextmanager
def named_checkpoint(checkpoint: str | None) -> Iterator[None]:
    """Turn what is raised while a run is restored from a checkpoint into one line that names it.

    Args:
        checkpoint: its path; None if the run starts from nothing.

    Raises:
        UserError: its contents cannot be restored.
    """
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        restoring = any(
            f.filename.endswith(_RESTORING) and f.name.startswith(("restore", "resume")) for f in frames
        )
        if checkpoint is None or isinstance(error, UserError) or not restoring:
            raise
        raise UserError(
            f"checkpoint {checkpoint}: cannot be restored ({type(error).__name__}: {error}); "
            "take an earlier one or train again"
        ) from error


def require_data_only(weights_only: bool | None) -> None:
    """Refuse a configuration in which checkpoints may hold code.

    Raises:
        UserError: ``weights_only`` is false.
    """
    if weights_only is False:
        raise UserError("weights_only: must be true; a checkpoint holds data, its code is never run")
