"""How torch's DistributedDataParallel is set up for avatars."""

from __future__ import annotations

import inspect

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

_KNOWN = inspect.signature(DistributedDataParallel).parameters
# Its name up to torch 2.12 is deprecated.
_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers"

DDP_OPTIONS = {
    # Which parameters a step trains depends on what its rays hit. Without this the buckets of gradients are
    # also made anew after the first step, and sums of three processes or more would change with a resume.
    "find_unused_parameters": True,
    # Buffers follow from data, step and weights; to send the occupancy grid in every step would cost much.
    _BUFFERS: False,
    "gradient_as_bucket_view": True,
}


def set_ddp_options(trainer: Trainer) -> None:
    """Give the options to a trainer of several processes, but for those that were chosen for it."""
    if isinstance(trainer.strategy, DDPStrategy):
        for name, value in DDP_OPTIONS.items():
            trainer.strategy._ddp_kwargs.setdefault(name, value)
