"""Streams of the pretended device: whether work of one is used on another without a wait in between."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from tests.cuda.pretended_report import REPORT, in_backward, place

CUDA = torch.device("cuda:0")
DEFAULT = 0
"""Number of the stream that is current if no other one is chosen."""


class Work(NamedTuple):
    """What a tensor was last written by: the operation of this number, in a stream."""

    stream: int
    number: int


_current = threading.local()
_stream_numbers = itertools.count(DEFAULT + 1)
_work_numbers = itertools.count()
_finished: dict[int, int] = {}
"""By stream, the last operation that is known to be done."""


class PretendedStream:
    """In place of ``torch.cuda.Stream``."""

    def __init__(self, device: object = None, priority: int = 0, *, number: int | None = None) -> None:
        del device, priority
        self.cuda_stream = next(_stream_numbers) if number is None else number
        self.device = CUDA

    def synchronize(self) -> None:
        _wait_for(self.cuda_stream, "synchronize")

    def wait_stream(self, other: PretendedStream) -> None:
        finish(other)


def finish(stream: PretendedStream) -> None:
    """What was begun in a stream is done before anything that follows; the host does not wait for it."""
    _finished[stream.cuda_stream] = next(_work_numbers)


def current_stream(*_: object) -> PretendedStream:
    """In place of ``torch.cuda.current_stream``."""
    return PretendedStream(number=stream_number())


def stream_number() -> int:
    """Number of this thread's current stream."""
    return getattr(_current, "number", DEFAULT)


@contextmanager
def on_stream(stream: PretendedStream) -> Iterator[None]:
    """In place of ``torch.cuda.stream``."""
    before, _current.number = stream_number(), stream.cuda_stream
    try:
        yield
    finally:
        _current.number = before


def new_work() -> Work | None:
    """The next operation of this thread's stream; None in backward, which takes the streams of forward."""
    number = next(_work_numbers)
    return None if in_backward() else Work(stream_number(), number)


def wait(kind: str) -> None:
    """Count that the host waits for this thread's stream."""
    _wait_for(stream_number(), kind)


def use(work: Work | None) -> None:
    """Count a race if ``work`` may not be done when this thread's stream uses it."""
    if work is None or in_backward() or work.stream == stream_number():
        return
    if work.number > _finished.get(work.stream, -1):
        REPORT.races[f"stream {stream_number()} uses work of stream {work.stream}", place()] += 1


def _wait_for(stream: int, kind: str) -> None:
    REPORT.waits[kind, place()] += 1
    _finished[stream] = next(_work_numbers)
