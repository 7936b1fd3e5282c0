"""StepSeeds: random draws of a training step that depend only on the run's seed, the process and the step."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class StepSeeds(Callback):
    """Seeds the generators of torch (CPU and CUDA) and of Python before every training step.

    A resumed run draws the same numbers as a run that was never stopped, whatever validation, loaders and
    loggers draw between steps. Every process draws different numbers.
    """

    def __init__(self) -> None:
        self._seed: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seed = state_dict["seed"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._seed is None:
            self._seed = torch.initial_seed()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx) -> None:
        seed = step_seed(self._seed, trainer.global_rank, trainer.fit_loop.total_batch_idx)
        torch.manual_seed(seed)
        random.seed(seed)


def step_seed(run_seed: int, rank: int, batch: int) -> int:
    """A seed for one batch of a process; seeds of neighbouring batches and ranks are unrelated."""
    return int(np.random.SeedSequence((run_seed, rank, batch)).generate_state(1)[0])
