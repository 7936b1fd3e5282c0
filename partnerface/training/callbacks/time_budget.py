"""TimeBudget: training ends after a given time, on any machine, with the schedule led to its end."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

SETTLING_STEPS = 3
"""Steps whose time says nothing about the next: kernels are compiled and caches filled in them."""


class TimeBudget(Callback):
    """Ends training after a wall time and tells the module which share of it has passed.

    The schedules follow the larger share, of steps or of time. A run under a budget depends on the
    speed of the machine; for one that can be repeated exactly, set ``trainer.max_steps`` alone.

    Args:
        seconds: budget of training, validation included; a resumed run has what its earlier part left.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._spent_before = 0.0
        self._start = time.monotonic()
        self._settled: tuple[int, float] | None = None

    @property
    def spent(self) -> float:
        """Seconds of training so far, earlier launches of the run included."""
        return self._spent_before + time.monotonic() - self._start

    def seconds_left(self) -> float:
        """Seconds until training ends."""
        return max(self.seconds - self.spent, 0.0)

    def progress(self) -> float:
        """Share of the budget that has passed, in [0, 1], counted from the first steps' end."""
        if self._settled is None:
            return min(self._spent_before / self.seconds, 1.0)
        settled = self._settled[1]
        return min((self.spent - settled) / max(self.seconds - settled, 1e-6), 1.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start, self._settled = time.monotonic(), None
        self._first_step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx) -> None:
        if self._settled is None and trainer.global_step >= self._first_step + SETTLING_STEPS:
            # A resumed run goes on at the share it had reached.
            self._settled = (trainer.global_step, 0.0 if self._spent_before else self.spent)
        pl_module.elapsed_share = trainer.strategy.broadcast(self.progress())

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        if trainer.strategy.broadcast(self.spent >= self.seconds):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._spent_before = float(state_dict["spent"])
