"""How torch's DistributedDataParallel is set up for avatars."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

_KNOWN = inspect.signature(DistributedDataParallel).parameters
# Its name up to torch 2.12 is deprecated.
_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers"

DDP_OPTIONS = {
    # `with_all_parameters` sees to it, and costs no walk through the graph in every step.
    "find_unused_parameters": False,
    # One exchange for the whole gradient of 7 MB: several at once take the cores from the backward pass.
    "bucket_cap_mb": 256,
    # Buffers follow from data, step and weights; to send the occupancy grid in every step would cost much.
    _BUFFERS: False,
    "gradient_as_bucket_view": True,
}


def set_ddp_options(trainer: Trainer) -> None:
    """Give the options to a trainer of several processes, but for those that were chosen for it."""
    if isinstance(trainer.strategy, DDPStrategy):
        for name, value in DDP_OPTIONS.items():
            trainer.strategy._ddp_kwargs.setdefault(name, value)


def with_all_parameters(loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """The loss, with every parameter in its graph.

    Which parameters a step trains depends on what its rays hit, and DistributedDataParallel waits for all.
    Those that the loss does not depend on get the others' gradient, or zeros.
    """
    return _WithParameters.apply(loss, *parameters)


class _WithParameters(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.count = len(parameters)
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, *[None] * ctx.count
