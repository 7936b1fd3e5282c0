"""TimeBudget and CpuBudget: end training and its schedules after some time or some CPU seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.errors import UserError
from partnerface.runs.run import CPU_SECONDS

SETTLING_STEPS = 3
"""First steps that no budget counts: kernels are compiled and caches are filled in them."""


class TimeBudget(Callback):
    """Sets ``time`` of the module's ``elapsed_shares`` to the share of ``trainer.max_time`` that has passed.

    Patches begin by that share too. Without ``max_time`` it does nothing. Lightning's timer ends the
    training; after a resume it continues from the time already spent. Results under a time budget depend on
    the speed of the machine; for results that can be repeated exactly, set ``trainer.max_steps`` alone.
    Checkpoints hold the seconds of the budget.
    """

    def __init__(self) -> None:
        self._seconds: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._seconds}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step = trainer.global_step
        timer = budget_timer(trainer)
        self._seconds = timer and timer.time_elapsed() + timer.time_remaining()
        # A resumed run continues from the share it had reached.
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
        pl_module.elapsed_shares["time"] = share = trainer.strategy.broadcast(share)
        data = trainer.datamodule
        if isinstance(data, HeadVideoDataModule) and share >= data.patches_from:
            data.begin_patches(trainer.global_step)


def budget_timer(trainer: Trainer) -> Timer | None:
    """Lightning's timer of ``trainer.max_time``; None if that is not set."""
    timers = (c for c in trainer.callbacks if isinstance(c, Timer) and c.time_remaining() is not None)
    return next(timers, None)


def spent_time(
    path: Path, checkpoint: Mapping[str, Any], max_time: str | timedelta | dict[str, int] | None
) -> str | None:
    """What to say of a training that is continued after its ``max_time``; None while time is left.

    Args:
        path: path of the checkpoint.
        checkpoint: its content.
        max_time: the trainer's.

    Raises:
        UserError: the training that it comes from had a longer ``max_time``.
    """

    def seconds(*keys: str) -> float:
        value: Any = checkpoint
        for key in ("callbacks", *keys):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, int | float) else 0.0

    budget, spent = Timer(max_time).time_remaining(), seconds(Timer().state_key, "time_elapsed", "train")
    if budget is None or spent < budget:
        return None
    done = f"--trainer.max_time {max_time}: {path} has trained for {spent:.0f} of {budget:.0f} s already"
    if budget < seconds(TimeBudget().state_key, "seconds"):
        raise UserError(f"{done}; choose more, or train anew in another --run_dir")
    return f"{done}, so that nothing is left to train; a larger --trainer.max_time trains on"


class CpuBudget(Callback):
    """Counts the CPU seconds of training; ends training and its schedules when a budget is spent.

    It counts the time of all threads of the process from one step to the next, with data loading,
    occupancy refreshes and validation. The first steps are not counted, since kernels are compiled in
    them. A resumed run continues from the count of its checkpoint. On a GPU, CPU seconds say little: use
    ``trainer.max_time`` or ``trainer.max_steps``.

    Args:
        seconds: the budget in CPU seconds; None only counts.

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
        pl_module.elapsed_shares["cpu"] = min(share, 1.0)
        trainer.should_stop |= share >= 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not `on_train_end`: a run that was killed after its last step trains nothing when it continues.
        for logger in trainer.loggers:
            logger.log_metrics({CPU_SECONDS: self.spent}, step=trainer.global_step)
