"""Interleaved measurement: variants take turns, so that other load on the machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Duration:
    """Time that a piece of work took.

    Attributes:
        wall: seconds on the clock.
        cpu: CPU seconds of the whole process, all threads.
    """

    wall: float
    cpu: float

    def per(self, count: float) -> Duration:
        """The time of one of ``count`` equal pieces."""
        return Duration(self.wall / count, self.cpu / count)

    def plus(self, other: Duration) -> Duration:
        """The time of both."""
        return Duration(self.wall + other.wall, self.cpu + other.cpu)


def duration_of(work: Callable[[], object], device: str = "cpu") -> Duration:
    """Run and time work; on CUDA until the device is done."""
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    synchronise(device)
    return Duration(time.perf_counter() - wall, time.process_time() - cpu)


def synchronise(device: str) -> None:
    """Wait until a CUDA device is done; does nothing for ``cpu``."""
    if device == "cuda":
        torch.cuda.synchronize()


def interleaved(variants: Mapping[str, Callable[[], Duration]], rounds: int) -> dict[str, list[Duration]]:
    """Durations of every variant, by name and round; each is measured once a round.

    Args:
        variants: functions that do and time their work.
        rounds: number of repetitions.
    """
    collected: dict[str, list[Duration]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            collected[name].append(measure())
    return collected


def ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Ratios round by round, in which load that slows both cancels."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]
