"""Several processes: options of DistributedDataParallel, and values that all processes exchange."""

from __future__ import annotations

import atexit
import inspect
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
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


INTERACTIVE_STEP = 0xFFFFFFFA
"""SLURM's number for the shell of an allocation; those above it are no steps of `srun` either."""


def is_alone_under_slurm(devices: Any, num_nodes: int) -> bool:
    """Whether one process is asked for, of a SLURM job that has several tasks, and `srun` did not start it.

    As in a shell of the job. Lightning would take it for one of those tasks, and refuse it or wait for the
    others, unless the job is named ``bash`` or ``interactive``.

    Args:
        devices: the trainer's, a number, a list of numbers, also as text, or ``auto``: one on a CPU.
        num_nodes: the trainer's.
    """
    several = os.environ.get("SLURM_NTASKS", "1") != "1" and not TorchElasticEnvironment.detect()
    return (
        num_nodes == 1
        and _count(devices) == 1
        and several
        and int(os.environ.get("SLURM_STEP_ID", INTERACTIVE_STEP)) >= INTERACTIVE_STEP
    )


def _count(devices: Any) -> int:
    """How many devices a trainer's ``devices`` are."""
    if isinstance(devices, list):
        return len(devices)
    if "," in (text := str(devices)):
        return len([word for word in text.split(",") if word.strip()])
    if text in ("auto", "-1"):
        return max(torch.cuda.device_count(), 1)
    return int(text) if text.isdecimal() else 0


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


Value = TypeVar("Value")
EXCHANGED_AT_ONCE = 16
"""Values of a process that are exchanged at once: pictures of all frames would fill the memory."""

_RETURN_SECONDS = 0.2
"""Seconds to wait for gloo's threads to release the tensors of the last collectives."""


def of_every_process(value: Value) -> list[Value]:
    """The value of every process, in the order of their ranks; all of them have to call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    gathered: list[Value | None] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value, group=_host_group())
    return gathered


def gathered_at_first(values: list[Value]) -> list[Value]:
    """The lists of all processes as one, in the order of their ranks; empty but in the first process."""
    with streamed_to_first(values, len(values)) as gathered:
        return [] if gathered is None else list(gathered)


@contextmanager
def streamed_to_first(values: Iterable[Value], count: int) -> Iterator[Iterator[Value] | None]:
    """The values of all processes for the block of the first, one after another in the order of ranks.

    The others have None; all have to enter it. What the block does not take is exchanged at its end, since
    the others would wait for that, even after an error.

    Args:
        values: those of this process, taken as they are needed.
        count: their number.
    """
    pieces = _exchanged(iter(values), count)
    try:
        yield chain.from_iterable(pieces) if _rank() == 0 else None
    finally:
        if dist.is_available() and dist.is_initialized():
            for _ in pieces:
                pass


def _exchanged(values: Iterator[Value], count: int) -> Iterator[list[Value]]:
    """Pieces of the values of all processes, in the order of ranks; empty but in the first process."""
    own = _rank()
    for rank, held in enumerate(of_every_process(count)):
        if rank == 0:
            yield from ([value] for value in values) if own == 0 else ()
            continue
        for _ in range(0, held, EXCHANGED_AT_ONCE):
            piece = list(islice(values, EXCHANGED_AT_ONCE)) if rank == own else []
            found: list[Any] | None = [None] * dist.get_world_size() if own == 0 else None
            dist.gather_object(piece, found, group=_host_group())
            yield found[rank] if found else []


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _host_group() -> dist.ProcessGroup | None:
    """The group that exchanges objects in the host's memory: NCCL would send them through that of GPUs."""
    return None if dist.get_backend() == "gloo" else _gloo_group()


@cache
def _gloo_group() -> dist.ProcessGroup:
    return dist.new_group(backend="gloo")


def outlast_collectives() -> None:
    """At the end of Python, first let gloo's threads release the tensors of the last collectives.

    A thread that releases one while Python shuts down takes the process down with SIGABRT, after
    all its work is done. The threads cannot be joined: `destroy_process_group` leaves them to whoever
    still holds the group, as a trainer's strategy does, and would wait for a process that is gone.
    """
    atexit.unregister(_let_gloo_return)
    atexit.register(_let_gloo_return)


def _let_gloo_return() -> None:
    whole = dist.is_available() and dist.is_initialized() and "gloo" in dist.get_backend()
    # That beside NCCL has its threads still, though Lightning has ended the whole group by now.
    if whole or _gloo_group.cache_info().currsize:
        time.sleep(_RETURN_SECONDS)
