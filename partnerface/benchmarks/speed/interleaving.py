"""Interleaved measurement: variants take turns, so that a busy spell of the machine meets them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Duration:
    """What a piece of work took.

    Attributes:
        wall: seconds on the clock.
        cpu: CPU seconds of the whole process, all threads.
    """

    wall: float
    cpu: float

    def per(self, count: float) -> Duration:
        """The share of one of ``count`` equal pieces."""
        return Duration(self.wall / count, self.cpu / count)

    def plus(self, other: Duration) -> Duration:
        return Duration(self.wall + other.wall, self.cpu + other.cpu)


def duration_of(work: Callable[[], object], device: str = "cpu") -> Duration:
    """Run once and time it; on CUDA until the device is done."""
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    synchronise(device)
    return Duration(time.perf_counter() - wall, time.process_time() - cpu)


def synchronise(device: str) -> None:
    """Wait for a CUDA device; nothing on a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def interleaved(variants: Mapping[str, Callable[[], Duration]], rounds: int) -> dict[str, list[Duration]]:
    """Measure every variant once a round; each returns its own duration."""
    collected: dict[str, list[Duration]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            collected[name].append(measure())
    return collected


def ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Round by round: what slows both in a round cancels."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]
