"""TimeBudget: with `trainer.max_time` set, the schedules follow the clock and end where training ends."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

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
