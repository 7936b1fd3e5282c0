"""What the processes of a distributed run tell each other."""

from __future__ import annotations

import atexit
import time
from typing import TypeVar

import torch.distributed as dist

Value = TypeVar("Value")
_RETURN_SECONDS = 0.2
"""Gloo's threads return a tensor within milliseconds once Python lets them."""


def of_every_process(value: Value) -> list[Value]:
    """The value of every process, in the order of their ranks; all of them have to call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    gathered: list[Value | None] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def gathered_at_first(values: list[Value]) -> list[Value]:
    """The lists of all processes as one, in the order of their ranks; empty but in the first process."""
    if not (dist.is_available() and dist.is_initialized()):
        return values
    gathered = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(values, gathered)
    return [value for part in gathered or () for value in part]


def outlast_collectives() -> None:
    """At the end of Python, first let gloo's threads return the tensors of the last collectives.

    A thread that returns one to a Python that has begun to end takes the process down with SIGABRT, after
    all its work is done. The threads cannot be joined: `destroy_process_group` leaves them to whoever
    still holds the group, as a trainer's strategy does, and would wait for a process that is gone.
    """
    atexit.unregister(_let_gloo_return)
    atexit.register(_let_gloo_return)


def _let_gloo_return() -> None:
    if dist.is_available() and dist.is_initialized() and "gloo" in dist.get_backend():
        time.sleep(_RETURN_SECONDS)
