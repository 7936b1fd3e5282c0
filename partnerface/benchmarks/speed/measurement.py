"""Interleaved measurements, in which other load on the machine slows all variants, and rows of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Duration:
    """Time that a piece of work took, in seconds.

    Attributes:
        wall: by the clock on the wall.
        cpu: CPU time of the whole process, all threads.
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


@dataclass(frozen=True)
class Target:
    """A bound that a value should keep, in the unit of the row."""

    comparison: Literal[">=", "<="]
    bound: float

    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:g}"

    def holds(self, value: float | None) -> bool | None:
        """Whether a value keeps the bound; NaN never does, and None stays None."""
        if value is None:
            return None
        return value >= self.bound if self.comparison == ">=" else value <= self.bound


@dataclass
class ResultRow:
    """One row of a benchmark.

    Attributes:
        name: what was measured.
        value: the median, or None if it was not measured and ``note`` says why.
        unit: unit of the value.
        target: bound of the value, or None.
        note: how it was measured.
        samples: the repeated measurements of which ``value`` is the median.
        by_cpu_time: the measurements with CPU seconds of the process in place of wall time. Other load on
            the machine hardly changes them, and they do not show how well threads share the work.
        details: further values by name.
    """

    name: str
    value: float | None
    unit: str
    target: Target | None = None
    note: str = ""
    samples: list[float] = field(default_factory=list)
    by_cpu_time: list[float] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps its target; None without target or value."""
        return None if self.target is None else self.target.holds(self.value)

    def as_json(self) -> dict[str, Any]:
        """The row as written to ``speed.json``."""
        row = {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "holds": self.holds,
            "note": self.note,
        }
        for key, samples in (("spread", self.samples), ("by_cpu_time", self.by_cpu_time)):
            if samples:
                ends = {"min": min(samples), "max": max(samples)}
                row[key] = {"median": median(samples), **ends, "samples": samples}
        return row | ({"details": self.details} if self.details else {})


def measured_row(
    name: str,
    samples: list[float],
    unit: str,
    target: Target | None = None,
    note: str = "",
    by_cpu_time: list[float] | None = None,
    **details: Any,
) -> ResultRow:
    """A row with the median of ``samples`` as its value."""
    return ResultRow(name, median(samples), unit, target, note, samples, by_cpu_time or [], details)
