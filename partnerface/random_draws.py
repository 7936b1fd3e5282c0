"""Random draws in threads: each thread may have a generator of its own.

Threads that share torch's generator draw from it in an order of their own, another in every run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_thread = threading.local()


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Let this thread draw from a new CPU generator inside the block."""
    _thread.generator = torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _thread.generator = None


def thread_generator() -> torch.Generator | None:
    """The generator of this thread; None, which stands for torch's own, outside of `own_generator`."""
    return getattr(_thread, "generator", None)
