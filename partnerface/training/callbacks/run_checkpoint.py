"""RunCheckpoint: the run's one checkpoint, `checkpoints/last.ckpt`, renewed while training and at its end."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class RunCheckpoint(Checkpoint):
    """Saves `last.ckpt` in the run's folder.

    Lightning's ModelCheckpoint has no time interval under manual optimisation. The cosine schedule
    makes the last state the best one, so one file is enough.

    Args:
        every_seconds: time between saves while training.
    """

    def __init__(self, every_seconds: float = 120.0) -> None:
        self.every_seconds = every_seconds
        self._last_save = time.monotonic()
        self._saved_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_save = time.monotonic()
        self._saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        due = time.monotonic() - self._last_save >= self.every_seconds
        # The last step too is saved here: at the end of training Lightning counts the epoch as done,
        # and a run that goes on from there would skip the rest of it.
        last = trainer.should_stop or trainer.global_step == trainer.max_steps
        if trainer.strategy.broadcast(due or last):
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # For whatever else may end the training.
        self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # What was learned up to an interrupt is kept; after an error the state may be the error's.
        if isinstance(exception, KeyboardInterrupt) and trainer.state.fn == "fit":
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run or trainer.global_step == self._saved_step:
            return
        trainer.save_checkpoint(last_checkpoint(trainer.default_root_dir))
        self._saved_step, self._last_save = trainer.global_step, time.monotonic()


def last_checkpoint(run_dir: Path | str) -> Path:
    """Where the checkpoint of a run lies."""
    return Path(run_dir) / "checkpoints" / "last.ckpt"
