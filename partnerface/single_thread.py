"""One torch thread for work that is faster, or repeatable, without others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
