"""RngState: generators in the checkpoint, so that a resumed run draws what it would have drawn."""

from __future__ import annotations

import random
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class RngState(Callback):
    """Saves and restores the generators of torch (CPU and CUDA) and of Python, of every rank."""

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        version, numbers, gauss = random.getstate()
        return {
            "torch": self._of_every_rank(torch.get_rng_state()),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
        }

    def _of_every_rank(self, state: torch.Tensor) -> list[torch.Tensor]:
        world = self._trainer.world_size if self._trainer else 1
        if world == 1 or not torch.distributed.is_initialized():
            return [state]
        device = self._trainer.strategy.root_device
        gathered = [torch.empty_like(state, device=device) for _ in range(world)]
        torch.distributed.all_gather(gathered, state.to(device))
        return [s.cpu() for s in gathered]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx) -> None:
        # Not earlier: validation before training, and building the loaders, draw numbers too.
        if self._restored is None:
            return
        state, self._restored = self._restored, None
        ranks = state["torch"]
        torch.set_rng_state(ranks[min(trainer.global_rank, len(ranks) - 1)].cpu())
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers.tolist()), gauss))
