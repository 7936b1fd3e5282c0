"""What the processes of a distributed run tell each other."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist

Value = TypeVar("Value")


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
