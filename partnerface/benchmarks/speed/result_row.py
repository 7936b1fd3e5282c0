"""ResultRow: one measured value, what it should reach and whether it does."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Target:
    """What a value should reach.

    Attributes:
        comparison: ``>=`` or ``<=``.
        bound: in the unit of the row.
    """

    comparison: str
    bound: float

    def __post_init__(self) -> None:
        if self.comparison not in _COMPARISONS:
            raise ValueError(f"comparison {self.comparison!r} is not one of {', '.join(_COMPARISONS)}")

    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:g}"

    def holds(self, value: float | None) -> bool | None:
        """None for a value that was not measured; a value that is no number never holds."""
        if value is None:
            return None
        return not math.isnan(value) and _COMPARISONS[self.comparison](value, self.bound)


@dataclass
class ResultRow:
    """One row of a benchmark.

    Attributes:
        name: what was measured.
        value: the median, or None where it was not measured; ``note`` says why.
        unit: of the value.
        target: what it should reach, or None.
        note: how it was measured.
        samples: the repeated measurements that ``value`` is the median of.
        by_cpu_time: the same with CPU seconds of the process in place of wall time, where that tells
            something else: other jobs on the machine hardly touch it, and it does not see how well
            threads share the work.
        details: further figures by name.
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
        return None if self.target is None else self.target.holds(self.value)

    def as_json(self) -> dict[str, Any]:
        """``name, value, unit, target, holds`` and how they came about."""
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
                row[key] = asdict(Spread.of(samples)) | {"samples": samples}
        return row | ({"details": self.details} if self.details else {})


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of repeated measurements."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, samples: list[float]) -> Spread:
        return cls(median(samples), min(samples), max(samples))


def measured_row(
    name: str,
    samples: list[float],
    unit: str,
    target: Target | None = None,
    note: str = "",
    by_cpu_time: list[float] | None = None,
    **details: Any,
) -> ResultRow:
    """The row whose value is the median of ``samples``."""
    return ResultRow(name, median(samples), unit, target, note, samples, by_cpu_time or [], details)


def missing_row(name: str, unit: str, target: Target | None, reason: str) -> ResultRow:
    """The row of something that cannot be measured here."""
    return ResultRow(name, None, unit, target, reason)
