"""ResultRow: one measured value with its target."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Target:
    """A bound that a value should keep.

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
        """Whether a value keeps the bound; NaN never does, and None stays None."""
        if value is None:
            return None
        return not math.isnan(value) and _COMPARISONS[self.comparison](value, self.bound)


@dataclass
class ResultRow:
    """One row of a benchmark.

    Attributes:
        name: what was measured.
        value: the median, or None if it was not measured and ``note`` says why.
        unit: of the value.
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


def missing_row(name: str, unit: str, target: Target | None, reason: str) -> ResultRow:
    """A row without a value, and the reason for it."""
    return ResultRow(name, None, unit, target, reason)
