"""Rendering an image in chunks of rays, on every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from partnerface.freed_memory import keep_freed_memory

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def cpu_threads(device: torch.device) -> int:
    """Threads that work on chunks of a tensor's work: one a core, or one that feeds a GPU."""
    return (os.cpu_count() or 1) if device.type == "cpu" else 1


def map_chunks(render: Callable[[Chunk], Result], chunks: Iterable[Chunk], threads: int) -> list[Result]:
    """Apply ``render`` to each chunk, in order, without gradient.

    On CPU, use a thread per core: a Warp launch and a small torch operation use one core each, so two
    chunks side by side are nearly twice as fast as two threads inside one.
    """

    def without_gradient(chunk: Chunk) -> Result:
        with torch.no_grad():
            return render(chunk)

    keep_freed_memory()
    # Each thread keeps to its core: torch would start as many threads of its own in every one.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(without_gradient, chunks))
