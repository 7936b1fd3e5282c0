"""RunCheckpoint: writes the run's one checkpoint, `checkpoints/last.ckpt`, from which it can be resumed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from partnerface.compute.ranges import Between
from partnerface.errors import UserError
from partnerface.runs.stop_signals import StopSignals
from partnerface.training.finite_steps import Diverged
from partnerface.training.resume.csv_appender import CsvAppender


class RunCheckpoint(Checkpoint):
    """Saves ``last.ckpt`` in the run's folder: at intervals, at the end, and on Ctrl-C or SIGTERM.

    Checkpoints are written between two steps, so that a run resumed from one ends with the same weights
    as a run that was never stopped. A run resumed from a checkpoint at which a validation was due begins
    with that validation. If a write fails, the earlier checkpoint is kept and training continues.

    Lightning's ModelCheckpoint has no time interval under manual optimisation. The cosine schedule
    makes the last state the best one, so one file is enough.

    Args:
        every_seconds: time between two checkpoints while training.

    Attributes:
        validation_pending: whether a validation is due at the last completed step.
    """

    def __init__(self, every_seconds: Between[float, 0, 1e9] = 120.0) -> None:
        self.every_seconds = every_seconds
        self.validation_pending = False
        self._signals = StopSignals()
        self._last_save = time.monotonic()
        self._saved: tuple[int, bool] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"validation_pending": self.validation_pending}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validation_pending = state_dict["validation_pending"]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["callbacks"].get(self.state_key) or {}
        amend = repeat_validation if state.get("validation_pending") else settle_validation
        amend(checkpoint["loops"]["fit_loop"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_save = time.monotonic()
        self._saved = self._place(trainer)
        self._signals.listen()
        self.cut_log(trainer)

    def cut_log(self, trainer: Trainer) -> None:
        """Remove rows logged after the checkpoint from which the run is resumed: they are logged again."""
        if not trainer.is_global_zero:
            return
        last_step = trainer.fit_loop.epoch_loop._batches_that_stepped if trainer.ckpt_path else -1
        for logger in trainer.loggers:
            if isinstance(logger, CsvAppender):
                logger.cut(last_step, without_validation=self.validation_pending)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        if validation_follows(trainer):
            return
        # The last step is saved here: at the end of training Lightning counts the epoch as done, and a
        # run resumed from there with more steps would skip the rest of it.
        self._save_if_due(trainer, log_step=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.validation_pending = True
            self._save_if_due(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        # Processes may have different numbers of frames, so that together they can stop only at the end.
        if trainer.state.fn == "fit" and trainer.world_size == 1 and self._signals.received:
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.validation_pending = False
            self._save_if_due(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._signals.restore()
        # Training may have ended for other reasons than those checked after a step.
        self._save(trainer, required=True)
        # A signal that came while other callbacks ended.
        if trainer.strategy.reduce_boolean_decision(self._signals.received, all=False):
            self._signals.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # After any other error, or a second Ctrl-C, a step may be half done.
        if isinstance(exception, Diverged):
            self._save(trainer, required=True)
        self._signals.restore()

    def _save_if_due(self, trainer: Trainer, log_step: bool = False) -> None:
        last = trainer.should_stop or trainer.global_step == trainer.max_steps
        due = last or self._signals.received or time.monotonic() - self._last_save >= self.every_seconds
        if not trainer.strategy.reduce_boolean_decision(due, all=False):
            return
        stop = trainer.strategy.reduce_boolean_decision(self._signals.received, all=False)
        if log_step:
            # Lightning logs a step after this hook, too late if the run is stopped or killed here.
            trainer._logger_connector.update_train_step_metrics()
        self._save(trainer, required=last or stop)
        if stop:
            self._signals.stop()

    def _save(self, trainer: Trainer, required: bool) -> None:
        """Write the checkpoint unless this state was saved already.

        Raises:
            UserError: it cannot be written though it is ``required``.
        """
        if trainer.fast_dev_run or self._place(trainer) == self._saved:
            return
        failure = None
        try:
            trainer.save_checkpoint(last_checkpoint(trainer.default_root_dir))
            self._saved = self._place(trainer)
        except UserError as error:
            failure = str(error)
            # The other processes wait at this barrier within `save_checkpoint`.
            trainer.strategy.barrier("Trainer.save_checkpoint")
        self._last_save = time.monotonic()
        failure = trainer.strategy.broadcast(failure)
        if failure and required:
            raise UserError(failure)
        if failure and trainer.is_global_zero:
            print(f"partnerface: {failure}; training continues", file=sys.stderr)

    def _place(self, trainer: Trainer) -> tuple[int, bool]:
        return trainer.fit_loop.total_batch_idx, self.validation_pending


def last_checkpoint(run_dir: Path | str) -> Path:
    """Path of a run's checkpoint."""
    return Path(run_dir) / "checkpoints" / "last.ckpt"


def validation_follows(trainer: Trainer) -> bool:
    """Whether the trainer will validate before its next step; to be called at the end of a step."""
    loop = trainer.fit_loop
    if not trainer.enable_validation or not sum(trainer.num_val_batches):
        return False
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def repeat_validation(fit_loop: dict[str, Any]) -> None:
    """Let a run that is resumed from a checkpoint begin with the validation after the last step.

    Lightning skips a validation that was due but had not begun when the checkpoint was written. One that
    had begun it does again from the first frame: the state of the checkpoint's fit loop is changed to that.
    """
    batches = fit_loop["epoch_loop.batch_progress"]
    for progress in (batches["total"], batches["current"]):
        progress["completed"] = progress["processed"]
    frames = fit_loop["epoch_loop.val_loop.batch_progress"]
    for progress in (frames["total"], frames["current"]):
        progress.update({"ready": 1, "started": 1, "processed": 0, "completed": 0})
    frames["is_last_batch"] = False


def settle_validation(fit_loop: dict[str, Any]) -> None:
    """Keep a run that is resumed from a checkpoint from repeating a validation that is done.

    After a validation that was repeated, Lightning still counts one frame as begun but not completed, and
    would do the validation a third time. The state of the checkpoint's fit loop is changed in place.
    """
    frames = fit_loop["epoch_loop.val_loop.batch_progress"]
    for progress in (frames["total"], frames["current"]):
        progress["ready"] = progress["started"] = progress["processed"] = progress["completed"]
