"""MethodResults: rows of results.json, selected and averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from partnerface.benchmarks.methods.results_file import Row
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.data.splits import SAMPLE
from partnerface.evaluation.report import NEAREST_FRAME
from partnerface.runs.results import SeedScores

STRICT = "strict"
"""The protocol in which head parameters of test frames are those of the tracker."""


@dataclass(frozen=True)
class Quantity:
    """A metric on a region of the picture.

    Attributes:
        region: such as ``head_mask``.
        metric: such as ``psnr``.
    """

    region: str
    metric: str

    def of(self, table: dict[str, Any]) -> float | None:
        """The value in a row's table by region and metric; None if it is missing."""
        return table.get(self.region, {}).get(self.metric)

    def scores(self, tables: Iterable[dict[str, Any]], sampled: bool = False) -> SeedScores | None:
        """The values of all tables that have one; None if none has."""
        known = tuple(value for table in tables if (value := self.of(table)) is not None)
        return SeedScores(known, sampled) if known else None


HEAD_PSNR = Quantity("head_mask", "psnr")
HEAD_LPIPS = Quantity("head_mask", "lpips")


class MethodResults:
    """Selections and averages of rows.

    Args:
        rows: of ``results.json``.
        order: names of methods in the order of tables; others follow.
    """

    def __init__(self, rows: Sequence[Row], order: Sequence[str] = ()) -> None:
        self.rows = list(rows)
        self._order = list(order)

    @property
    def methods(self) -> list[str]:
        """Names of methods with unchanged settings."""
        found = _unique(row["method"] for row in self.rows if not row["overrides"])
        ranks = {name: place for place, name in enumerate(self._order)}
        return sorted(found, key=lambda name: ranks.get(name, len(ranks)))

    @property
    def variants(self) -> list[MethodVariant]:
        """Methods with unchanged settings, then variants in the order of the rows."""
        changed: dict[tuple[str, frozenset], MethodVariant] = {}
        for row in self.rows:
            overrides = tuple(row["overrides"].items())
            if overrides:
                variant = MethodVariant(row["method"], overrides)
                changed.setdefault((row["method"], frozenset(overrides)), variant)
        return [*(MethodVariant(name) for name in self.methods), *changed.values()]

    @property
    def subjects(self) -> list[str]:
        """Names of subjects, embedded ones first."""
        found = _unique(row["subject"] for row in self.rows)
        return sorted(found, key=lambda name: not name.startswith("synthetic_"))

    @property
    def splits(self) -> list[str]:
        """Names of test splits, the hardest first; samples count as their split."""
        found = _unique(row["split"].removesuffix(SAMPLE) for row in self.rows)
        return sorted(found, key=lambda name: (name != "unseen_expression", name != "temporal"))

    @property
    def protocols(self) -> list[str]:
        """Where the head parameters of test frames came from: ``strict``, ``refined``."""
        return _unique(row["protocol"] for row in self.rows)

    def select(self, **wanted: Any) -> list[Row]:
        """Rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]

    def scores(
        self,
        variant: MethodVariant,
        subject: str,
        split: str,
        quantity: Quantity,
        protocol: str = STRICT,
        or_sample: bool = False,
    ) -> SeedScores | None:
        """Scores of all seeds; None where no run has the metric.

        Args:
            variant: the method.
            subject: name of the person.
            split: name of the test split.
            quantity: the metric.
            protocol: see `protocols`.
            or_sample: take the sample of the split where the method was tested on that alone.
        """
        wanted = {"method": variant.method, "overrides": dict(variant.overrides)}
        wanted |= {"subject": subject, "protocol": protocol}
        for name in (split, split + SAMPLE) if or_sample else (split,):
            rows = self.select(split=name, **wanted)
            found = quantity.scores((row["metrics"] for row in rows), name.endswith(SAMPLE))
            if found is not None:
                return found
        return None

    def nearest_frame(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """The metric of the nearest training frame, which depends on neither method nor seed."""
        rows = self.select(subject=subject, split=split, protocol=STRICT)
        scores = quantity.scores(row[NEAREST_FRAME] for row in rows)
        return None if scores is None else scores.mean


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
