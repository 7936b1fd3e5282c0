"""TimeBudget and CpuBudget: training that ends by the clock or after some CPU seconds, schedules included."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from partnerface.errors import UserError

SETTLING_STEPS = 3
"""Steps whose time says nothing about the next: kernels are compiled and caches filled in them."""


class TimeBudget(Callback):
    """Tells the module which share of the trainer's ``max_time`` has passed; without one it does nothing.

    Lightning's own timer ends the training, and goes on where it was after a resume. A run under a
    budget depends on the speed of the machine; for one that can be repeated exactly, set
    ``trainer.max_steps`` alone.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step = trainer.global_step
        timer = budget_timer(trainer)
        # A resumed run goes on at the share it had reached.
        self._settled: float | None = 0.0 if timer and timer.time_elapsed() > 1 else None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx) -> None:
        timer = budget_timer(trainer)
        if timer is None:
            return
        elapsed, left = timer.time_elapsed(), max(timer.time_remaining(), 0.0)
        if self._settled is None:
            if trainer.global_step < self._first_step + SETTLING_STEPS:
                return
            self._settled = elapsed
        share = (elapsed - self._settled) / max(elapsed - self._settled + left, 1e-6)
        pl_module.elapsed_share = trainer.strategy.broadcast(share)


def budget_timer(trainer: Trainer) -> Timer | None:
    """The timer that `trainer.max_time` makes, if it is set."""
    timers = (c for c in trainer.callbacks if isinstance(c, Timer) and c.time_remaining() is not None)
    return next(timers, None)


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
