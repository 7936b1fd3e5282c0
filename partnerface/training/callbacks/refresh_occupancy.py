"""RefreshOccupancy: prune the learned occupancy grid by the density trained so far."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

FIRST_FRAMES = 8


class RefreshOccupancy(Callback):
    """Looks at every candidate cell once density has formed, then at some of them now and then.

    Args:
        start_step: when the first, full refresh takes place; earlier, density says nothing yet.
        every_steps: steps between the later, partial ones.
        visits: random cells that a partial refresh looks at.
    """

    def __init__(self, start_step: int = 150, every_steps: int = 25, visits: int = 16384) -> None:
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
            # Two draws a cell leave one in seven unseen; those stay occupied until a later visit.
            frames, visits = FIRST_FRAMES, max(2 * candidates // FIRST_FRAMES, 1)
        else:
            frames, visits = 1, min(self.visits, candidates)
        device, data = torch.device(pl_module.device), trainer.datamodule
        train = data.train_frames
        # Every process looks at the same cells, for nothing else keeps its grid like that of the others.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(step)
            for _ in range(frames if candidates else 0):
                chosen = train[int(torch.randint(len(train), ()))]
                view = data.views.select([chosen])
                pl_module.avatar.refresh_occupancy(view.to(device), visits)
