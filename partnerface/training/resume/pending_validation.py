"""Validation at a checkpoint: whether it is due, and a resumed run that repeats or does not repeat it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def validation_follows(trainer: Trainer) -> bool:
    """Whether the trainer will validate before its next step; to be called at the end of a step."""
    loop = trainer.fit_loop
    if not trainer.enable_validation or not sum(trainer.num_val_batches):
        return False
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def repeat_validation(fit_loop: dict[str, Any]) -> None:
    """Change a checkpoint so that the run resumed from it begins with the validation after the last step.

    Lightning skips a validation that was due but had not begun when the checkpoint was written. One that
    had begun it does again from the first frame, so the state is changed to that.

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
    """Change a checkpoint so that the run resumed from it does not repeat a validation that is done.

    After a validation that was repeated, Lightning still counts one frame as begun but not completed. A
    run resumed from that state would do the validation a third time.

    Args:
        fit_loop: the state of the trainer's fit loop in a checkpoint, changed in place.
    """
    frames = fit_loop["epoch_loop.val_loop.batch_progress"]
    for progress in (frames["total"], frames["current"]):
        progress["ready"] = progress["started"] = progress["processed"] = progress["completed"]
