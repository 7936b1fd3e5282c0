"""Render an image in chunks of rays: several at once on a CPU, as large as the memory allows on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from partnerface.compute.process_settings import keep_freed_memory
from partnerface.compute.threads import usable_cores
from partnerface.errors import UserError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


CPU_CHUNK = 16384
"""Rays per chunk on a CPU: with two chunks at once a picture of any size takes less than 2 GB."""

RUN = 64
"""Neighbouring rays that stay together in a chunk, because they read the same places in memory."""

BYTES_PER_RAY = 65_536
"""Upper bound on the memory of a ray of 16 samples while all networks are evaluated at them."""

BYTES_PER_INTERPOLATED_RAY = 12_288
"""The same where networks take `POINTS_AT_ONCE` points at a time, as they do for most of a picture."""

POINTS_AT_ONCE = 524_288
"""Points for which a network is evaluated at once on a GPU: about a gigabyte."""

LEAST_CHUNK = 256
"""Rays of the smallest chunk that is tried."""

logger = logging.getLogger(__name__)


def rays_at_once(device: torch.device, bytes_per_ray: int = BYTES_PER_RAY) -> int:
    """Rays per chunk: on a GPU as many as half of its free memory holds."""
    if device.type != "cuda":
        return CPU_CHUNK
    return max(LEAST_CHUNK, free_memory(device) // (2 * bytes_per_ray))


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU that nothing uses, those among them that torch keeps for its next tensors."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def in_pieces(
    evaluate: Callable[..., Result], join: Callable[[list[Result]], Result], *points: Tensor | None, most: int
) -> Result:
    """Call a function of N points, without gradient on a GPU for ``most`` of them at a time.

    The host knows N, so that it need not wait for the device to divide them.

    Args:
        evaluate: called with a part of each tensor.
        join: makes one result of those of the pieces.
        points: tensors ``[N, ...]``, or None.
        most: points of a piece.
    """
    first = next(some for some in points if some is not None)
    if len(first) <= most or first.device.type == "cpu" or torch.is_grad_enabled():
        return evaluate(*points)
    count = -(-len(first) // most)
    pieces = [[None] * count if some is None else some.split(most) for some in points]
    return join([evaluate(*piece) for piece in zip(*pieces, strict=True)])


def in_smaller_chunks(render: Callable[[int], Result], chunk: int) -> Result:
    """Call ``render`` with a number of rays, then with a quarter while the GPU's memory is too small.

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


def pieces_of(rays: int, chunk: int, threads: int) -> Sequence[Tensor | slice]:
    """Split the numbers of ``rays`` rays into pieces of at most ``chunk``: `evenly_spread` over threads.

    For one thread they are consecutive: slices, which a GPU gets without a copy of their numbers.
    """
    if threads > 1:
        return evenly_spread(rays, chunk, threads)
    return [slice(start, min(start + chunk, rays)) for start in range(0, rays, chunk)]


def evenly_spread(rays: int, chunk: int, threads: int) -> list[Tensor]:
    """Split the indices of ``rays`` rays into pieces of at most ``chunk`` rays with about equal work.

    Every piece takes runs of neighbouring rays from all over the picture, since background takes less time
    than a mouth. The number of pieces is a multiple of ``threads`` where there are enough runs.

    Returns:
        Ray indices ``[N_k]`` of each piece, none of them empty.
    """
    length = min(RUN, chunk)
    runs = torch.arange(-(-rays // length) * length).view(-1, length)
    count = -(-len(runs) // (chunk // length))
    count = min(len(runs), -(-count // threads) * threads)
    pieces = [runs[k::count].flatten() for k in range(count)]
    return [piece[piece < rays] for piece in pieces]


def cpu_threads(device: torch.device) -> int:
    """Threads for `map_chunks`: one for each usable core on a CPU, a single one where a GPU computes."""
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
    if threads == 1:
        # A pool's thread would have a CUDA stream, a device and an autocast of its own.
        return [without_gradient(chunk) for chunk in chunks]
    # Each thread keeps to its core: torch would start as many threads of its own in every one.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(without_gradient, chunks))
