"""CPU threads: usable cores, one torch thread for a block, a generator a thread, shards side by side.

On a CPU the small matrices of a ray batch leave torch's inner threads mostly idle: two of them are
worth 1.2 times one. Two Python threads that each run a shard with a single-threaded torch are worth 1.9 times
one: kernels release the interpreter's lock, and autograd adds to `.grad` under a lock of its own.

Threads that share torch's generator draw from it in an order that changes from run to run, so each may
have its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor


def usable_cores() -> int:
    """Cores that this process may run on: under SLURM or in a container often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread inside the block.

    Sums are split among threads, so the last bit of a result would depend on their number. Many small
    tensors are also several times slower on two busy cores than on one: the threads wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_thread = threading.local()


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Give this thread a new CPU generator inside the block; `thread_generator` returns it."""
    _thread.generator = torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _thread.generator = None


def thread_generator() -> torch.Generator | None:
    """The generator of this thread inside `own_generator`; None, torch's global generator, elsewhere."""
    return getattr(_thread, "generator", None)


def sharded_backward(
    shards: Sequence[Callable[[], Tensor]], threads: int, pool: ThreadPoolExecutor | None = None
) -> list[Tensor]:
    """Run every shard's forward and backward; gradients add up in the parameters' `.grad`.

    Args:
        shards: each returns the scalar loss of its share of the batch, already weighted by that share.
        threads: how many run at once; 1 runs them in turn in the calling thread.
        pool: a pool of `single_threaded_pool` to run in; without one the shards run in turn.

    Returns:
        The shards' detached losses, in order. An exception of any shard is raised once all have ended.
    """
    if threads < 2 or len(shards) < 2 or pool is None:
        return [_forward_backward(shard) for shard in shards]
    running = [pool.submit(_forward_backward, shard) for shard in shards]
    for future in running:
        future.exception()
    return [future.result() for future in running]


def single_threaded_pool(threads: int) -> ThreadPoolExecutor:
    """A thread pool in whose threads torch does not start threads of its own."""
    return ThreadPoolExecutor(threads, "shard", initializer=torch.set_num_threads, initargs=(1,))


def _forward_backward(shard: Callable[[], Tensor]) -> Tensor:
    # Grad mode is a property of the thread: a worker starts with its default.
    with torch.enable_grad():
        loss = shard()
        loss.backward()
    return loss.detach()
