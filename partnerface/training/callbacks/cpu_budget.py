"""CpuBudget: training under a budget of CPU seconds, which other jobs on the machine hardly touch."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.training.callbacks.time_budget import SETTLING_STEPS
from partnerface.user_error import UserError

LOGGED = "train/cpu_seconds"
"""Name of the CPU seconds in the run's log, written at the end of training."""


class CpuBudget(Callback):
    """Counts the CPU seconds of training; with a budget it ends there, and the schedules follow.

    It counts what the whole process spends from one step to the next: data, pruning and whatever
    validation there is. The first steps are free, for kernels are compiled in them. A resumed run goes on
    where it was. On a GPU the CPU's seconds say little: set ``trainer.max_time`` or ``trainer.max_steps``.

    Args:
        seconds: the budget; without one it only counts.

    Raises:
        UserError: the budget is not positive.
    """

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is not None and seconds <= 0:
            raise UserError(f"CPU budget: {seconds:g} seconds; choose more than 0")
        self.seconds = seconds
        self.spent = 0.0
        self._mark: float | None = None
        self._steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spent = float(state_dict["spent"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark, self._steps = None, 0
        # The state of a resumed run is loaded by now.
        self._follow(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        self._steps += 1
        now = time.process_time()
        if self._mark is not None:
            self.spent += now - self._mark
        if self._steps >= SETTLING_STEPS:
            self._mark = now
        self._follow(trainer, pl_module)

    def _follow(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.seconds is None:
            return
        share = trainer.strategy.broadcast(self.spent / self.seconds)
        pl_module.elapsed_share = min(share, 1.0)
        trainer.should_stop |= share >= 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({LOGGED: self.spent}, step=trainer.global_step)
