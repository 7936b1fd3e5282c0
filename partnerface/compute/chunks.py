"""Rendering an image in chunks of rays: on every core, and as large as the memory allows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from partnerface.compute.cores import usable_cores
from partnerface.compute.process_settings import keep_freed_memory
from partnerface.errors import UserError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


CPU_CHUNK = 16384
"""Rays of a chunk on a CPU: two of them at work keep a picture of any size below 2 GB."""

RUN = 64
"""Neighbouring rays that stay together in a chunk, as they ask for the same places in memory."""

BYTES_PER_RAY = 65_536
"""What a ray of 16 samples takes while it is rendered, generously."""

LEAST_CHUNK = 256

logger = logging.getLogger(__name__)


def rays_at_once(device: torch.device) -> int:
    """Rays of a chunk: on a GPU as many as half of its free memory holds."""
    if device.type != "cuda":
        return CPU_CHUNK
    free, _ = torch.cuda.mem_get_info(device)
    return max(LEAST_CHUNK, free // (2 * BYTES_PER_RAY))


def in_smaller_chunks(render: Callable[[int], Result], chunk: int) -> Result:
    """``render(chunk)``, with ever smaller chunks where the device runs out of memory.

    Raises:
        UserError: even the smallest chunk does not fit.
    """
    while True:
        try:
            return render(chunk)
        except torch.OutOfMemoryError:
            if chunk <= LEAST_CHUNK:
                raise UserError(
                    f"the GPU's memory does not hold {chunk} rays: free some, or choose the CPU"
                ) from None
        smaller = max(LEAST_CHUNK, chunk // 4)
        logger.warning("out of GPU memory with %d rays at once: going on with %d", chunk, smaller)
        chunk = smaller
        torch.cuda.empty_cache()


def evenly_spread(rays: int, chunk: int, threads: int) -> list[Tensor]:
    """Split the numbers of ``rays`` rays into pieces of at most ``chunk``, all with the same share of work.

    Every piece takes runs from all over the picture, since a piece of background is done at once and one
    of a mouth is not. There are as many pieces for each thread.

    Returns:
        Pieces ``[N_k]``, none of them empty.
    """
    length = min(RUN, chunk)
    runs = torch.arange(-(-rays // length) * length).view(-1, length)
    count = -(-len(runs) // (chunk // length))
    count = min(len(runs), -(-count // threads) * threads)
    pieces = [runs[k::count].flatten() for k in range(count)]
    return [piece[piece < rays] for piece in pieces]


def cpu_threads(device: torch.device) -> int:
    """Threads that work on chunks of a tensor's work: one a core, or one that feeds a GPU."""
    return usable_cores() if device.type == "cpu" else 1


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
