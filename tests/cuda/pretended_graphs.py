"""CUDA graphs of the pretended device: what a step launches is written down, and a replay repeats that alone.

As on CUDA nothing else happens in a replay: no line of Python runs, so that numbers of the host stay as they
were when the graph was captured, and results go to the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tests.cuda.pretended_report import REPORT, place
from tests.cuda.pretended_streams import PretendedStream, finish, on_stream

_capturing: list[PretendedGraph] = []


class PretendedGraph:
    """In place of ``torch.cuda.CUDAGraph``."""

    def __init__(self) -> None:
        self.launched: list[Callable[[], None]] = []
        self.stream: PretendedStream | None = None
        self.error_mode = ""

    def replay(self) -> None:
        """Everything that was launched, once more."""
        REPORT.operations["replay of a graph", place()] += 1
        with torch.inference_mode(False), torch.no_grad():
            for launch in self.launched:
                launch()
        finish(self.stream)

    def add(self, func: Callable, args: tuple, options: dict[str, Any], result: Any) -> None:
        """An operation on tensors of the CPU, and its result, into which a replay writes."""
        old = [tensor for tensor in pytree.tree_leaves(result) if isinstance(tensor, Tensor)]

        def again() -> None:
            new = [t for t in pytree.tree_leaves(func(*args, **options)) if isinstance(t, Tensor)]
            for before, after in zip(old, new, strict=True):
                # Views, and what an operation has written to, are the same memory.
                if before.numel() and before.data_ptr() != after.data_ptr():
                    before.copy_(after)

        self.launched.append(again)


def capturing() -> PretendedGraph | None:
    """The graph that is being captured."""
    return _capturing[-1] if _capturing else None


@contextmanager
def capture(
    graph: PretendedGraph, stream: PretendedStream, capture_error_mode: str = "global"
) -> Iterator[None]:
    """In place of ``torch.cuda.graph``."""
    graph.stream, graph.error_mode = stream, capture_error_mode
    _capturing.append(graph)
    try:
        with on_stream(stream):
            yield
    finally:
        _capturing.pop()
