"""Validation between two training steps: whether one follows, and how a resumed run begins with it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def validation_follows(trainer: Trainer) -> bool:
    """Whether the trainer validates before its next step; asked at the end of a step."""
    loop = trainer.fit_loop
    if not trainer.enable_validation or not sum(trainer.num_val_batches):
        return False
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def repeat_validation(fit_loop: dict[str, Any]) -> None:
    """Make the saved state of the loops that of a run within the validation that follows its last step.

    Lightning finishes a validation that it finds begun, from the first frame on, but skips one that it
    finds neither begun nor done.

    Args:
        fit_loop: the state of the trainer's fit loop in a checkpoint, changed in place.
    """
    batches = fit_loop["epoch_loop.batch_progress"]
    for progress in (batches["total"], batches["current"]):
        progress["completed"] = progress["processed"]
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    frames = fit_loop["epoch_loop.val_loop.batch_progress"]
    for progress in (frames["total"], frames["current"]):
        progress.update(begun)
    frames["is_last_batch"] = False


def settle_validation(fit_loop: dict[str, Any]) -> None:
    """Make the saved state of the loops that of a run with no validation begun that is not done.

    Lightning never takes back the begun frame of a validation that was repeated, so the state saved after
    the repetition looks like that of a run within it, and the validation would be done a third time.

    Args:
        fit_loop: the state of the trainer's fit loop in a checkpoint, changed in place.
    """
    frames = fit_loop["epoch_loop.val_loop.batch_progress"]
    for progress in (frames["total"], frames["current"]):
        progress["ready"] = progress["started"] = progress["processed"] = progress["completed"]
