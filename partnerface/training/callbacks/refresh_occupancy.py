"""RefreshOccupancy: update the occupancy grid from the density trained so far."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.compute.ranges import Between

FIRST_FRAMES = 8
"""Training frames in whose poses the first refresh evaluates density."""


class RefreshOccupancy(Callback):
    """Evaluates the density of all candidate cells once, and of some random ones every few steps after.

    Args:
        start_step: step of the first refresh, of all cells; before it density has not formed yet.
        every_steps: steps between the later refreshes.
        visits: number of random cells that a later refresh evaluates.
    """

    def __init__(
        self,
        start_step: Between[int, 0, 10**9] = 150,
        every_steps: Between[int, 1, 10**9] = 25,
        visits: Between[int, 1, 10**9] = 16384,
    ) -> None:
        self.start_step, self.every_steps, self.visits = start_step, every_steps, visits

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx) -> None:
        step = trainer.global_step
        if step < self.start_step or (step - self.start_step) % self.every_steps:
            return
        grid = pl_module.avatar.sampler.occupancy
        if grid is None:
            return
        candidates = int(grid.candidates.sum())
        if step == self.start_step:
            # With two draws per cell, one cell in seven is not drawn; it stays occupied until it is.
            frames, visits = FIRST_FRAMES, max(2 * candidates // FIRST_FRAMES, 1)
        else:
            frames, visits = 1, min(self.visits, candidates)
        device, data = torch.device(pl_module.device), trainer.datamodule
        train = data.train_frames
        # Every process draws the same cells: grids are not synchronised otherwise.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(step)
            for _ in range(frames if candidates else 0):
                chosen = train[int(torch.randint(len(train), ()))]
                view = data.views.select([chosen])
                pl_module.avatar.refresh_occupancy(view.to(device), visits)
