"""MethodResults: rows of results.json, gathered over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from partnerface.benchmarks.methods.results_file import Row
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.data.splits import SAMPLE
from partnerface.evaluation.report import NEAREST_FRAME

STRICT = "strict"


@dataclass(frozen=True)
class Score:
    """One metric of a method on a subject's split, over its seeds.

    Attributes:
        values: one for each seed.
        sampled: whether it was measured on a sample of the split's frames.
    """

    values: tuple[float, ...]
    sampled: bool = False

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Quantity:
    """What is scored.

    Attributes:
        region: such as ``head_mask``.
        metric: such as ``psnr``.
        higher_is_better: its direction.
    """

    region: str
    metric: str
    higher_is_better: bool

    def better(self, first: float, second: float) -> bool:
        return first > second if self.higher_is_better else first < second


HEAD_PSNR = Quantity("head_mask", "psnr", True)
HEAD_LPIPS = Quantity("head_mask", "lpips", False)


class MethodResults:
    """Answers questions about rows.

    Args:
        rows: of ``results.json``.
        first: names of methods in the order of tables; others follow.
    """

    def __init__(self, rows: Sequence[Row], first: Sequence[str] = ()) -> None:
        self.rows = list(rows)
        self._first = list(first)

    @property
    def methods(self) -> list[str]:
        """Methods as they are shipped, without changed values."""
        found = _unique(row["method"] for row in self.rows if not row["overrides"])
        ranks = {name: place for place, name in enumerate(self._first)}
        return sorted(found, key=lambda name: ranks.get(name, len(ranks)))

    @property
    def variants(self) -> list[MethodVariant]:
        """The methods as they are shipped, then those with changed values as they come."""
        changed: dict[tuple[str, frozenset], MethodVariant] = {}
        for row in self.rows:
            overrides = tuple(row["overrides"].items())
            if overrides:
                variant = MethodVariant(row["method"], overrides)
                changed.setdefault((row["method"], frozenset(overrides)), variant)
        return [*(MethodVariant(name) for name in self.methods), *changed.values()]

    @property
    def subjects(self) -> list[str]:
        """Embedded subjects first."""
        found = _unique(row["subject"] for row in self.rows)
        return sorted(found, key=lambda name: not name.startswith("synthetic_"))

    @property
    def splits(self) -> list[str]:
        """Splits without samples, the hardest first."""
        found = _unique(row["split"].removesuffix(SAMPLE) for row in self.rows)
        return sorted(found, key=lambda name: (name != "unseen_expression", name != "temporal"))

    @property
    def protocols(self) -> list[str]:
        return _unique(row["protocol"] for row in self.rows)

    def select(self, **wanted: Any) -> list[Row]:
        """Rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]

    def score(
        self,
        method: str,
        subject: str,
        split: str,
        quantity: Quantity,
        protocol: str = STRICT,
        overrides: dict[str, str] | None = None,
    ) -> Score | None:
        """The metric over all seeds, None where no run has it."""
        rows = self.select(
            method=method, subject=subject, split=split, protocol=protocol, overrides=overrides or {}
        )
        return _score([row["metrics"] for row in rows], quantity, split.endswith(SAMPLE))

    def score_or_sample(
        self,
        method: str,
        subject: str,
        split: str,
        quantity: Quantity,
        protocol: str = STRICT,
        overrides: dict[str, str] | None = None,
    ) -> Score | None:
        """The metric on the split, or on its sample where the method was tested on that alone."""
        whole = self.score(method, subject, split, quantity, protocol, overrides)
        return whole or self.score(method, subject, split + SAMPLE, quantity, protocol, overrides)

    def nearest_frame(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """The metric of the nearest training frame, which no method and no seed changes."""
        rows = self.select(subject=subject, split=split, protocol=STRICT)
        score = _score([row[NEAREST_FRAME] for row in rows], quantity, False)
        return None if score is None else score.mean


def value_of(table: dict[str, Any], quantity: Quantity) -> float | None:
    """The metric in a row's table by region and metric."""
    return table.get(quantity.region, {}).get(quantity.metric)


def _score(tables: Iterable[dict[str, Any]], quantity: Quantity, sampled: bool) -> Score | None:
    values = [value_of(table, quantity) for table in tables]
    known = tuple(value for value in values if value is not None)
    return Score(known, sampled) if known else None


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
