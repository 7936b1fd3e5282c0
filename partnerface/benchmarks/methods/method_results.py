"""MethodResults: selections and averages of the rows of results.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from partnerface.benchmarks.methods.compared import MethodVariant
from partnerface.benchmarks.methods.results import EXPLAINED, FINE, MOTION_KEYS, TRAIN, Row
from partnerface.benchmarks.methods.run import CONVERGED, SCRATCH
from partnerface.data.regions import NEAREST_FRAME
from partnerface.data.splits import HARD_SPLITS, SAMPLE_SUFFIX
from partnerface.runs.results import SeedScores

STRICT = "strict"
"""The parameters of a test whose frames have those of the tracker."""


@dataclass(frozen=True)
class Quantity:
    """A metric on a region of the picture, or a measure of the true motion.

    Attributes:
        region: such as ``head_mask``, or a key of a row such as ``mm_left``.
        metric: such as ``psnr``, or a region of the surface.
    """

    region: str
    metric: str

    def of(self, table: dict[str, Any]) -> float | None:
        """The value in a table by region and metric; None if it is missing."""
        return table.get(self.region, {}).get(self.metric)

    def of_row(self, row: Row) -> float | None:
        """The value of a row of ``results.json``; None if it is missing."""
        return self.of(row["metrics"] | {key: row[key] for key in (*MOTION_KEYS, FINE) if key in row})


HEAD_PSNR = Quantity("head_mask", "psnr")
HEAD_LPIPS = Quantity("head_mask", "lpips")
MM_FINE_FACE = Quantity("mm_left", "fine_face")
MM_HAIR = Quantity("mm_left", "hair")
EXPLAINED_SHARE = Quantity(EXPLAINED, "fine_face")
FINE_PSNR, FINE_LPIPS, FINE_COUNTS = (Quantity(FINE, name) for name in ("psnr", "lpips", "counts"))


def lpips_text(value: float) -> str:
    """LPIPS for a table: three decimals, four below 0.01, as of the few pixels that fine motion changes.

    >>> lpips_text(0.0154), lpips_text(0.00276)
    ('0.015', '0.0028')
    """
    return f"{value:.{4 if value < 0.01 else 3}f}"


class MethodResults:
    """Selections and averages of rows.

    Args:
        rows: the rows of ``results.json``.
        order: names of methods in the order of tables; others follow.
    """

    def __init__(self, rows: Sequence[Row], order: Sequence[str] = ()) -> None:
        self.rows = list(rows)
        self._order = list(order)

    @property
    def starts(self) -> list[str]:
        """Where trainings started, `CONVERGED` first."""
        found = {row["start"] for row in self.rows}
        return [start for start in (CONVERGED, SCRATCH) if start in found]

    def of_start(self, start: str) -> MethodResults:
        """The results of trainings that started there."""
        return MethodResults(self.select(start=start), self._order)

    @property
    def methods(self) -> list[str]:
        """Names of methods with unchanged settings."""
        found = dict.fromkeys(row["method"] for row in self.rows if not row["overrides"])
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
        found = dict.fromkeys(row["subject"] for row in self.rows)
        return sorted(found, key=lambda name: not name.startswith("synthetic_"))

    @property
    def splits(self) -> list[str]:
        """Names of test splits, those without training's expressions first; samples count as their split."""
        found = dict.fromkeys(row["split"].removesuffix(SAMPLE_SUFFIX) for row in self.rows)
        found.pop(TRAIN, None)
        ranks = {name: place for place, name in enumerate((*HARD_SPLITS, "temporal"))}
        return sorted(found, key=lambda name: ranks.get(name, len(ranks)))

    def splits_of(self, subject: str) -> list[str]:
        """`splits` that a subject has."""
        found = {row["split"].removesuffix(SAMPLE_SUFFIX) for row in self.select(subject=subject)}
        return [name for name in self.splits if name in found]

    def select(self, **wanted: Any) -> list[Row]:
        """Rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]

    def scores(
        self,
        variant: MethodVariant,
        subject: str,
        split: str,
        quantity: Quantity,
        parameters: str = STRICT,
        or_sample: bool = False,
    ) -> SeedScores | None:
        """Scores of all seeds, of trainings with the same start; None where no run has the metric.

        ``parameters`` says where the head parameters of test frames came from, ``strict`` or ``refined``.
        With ``or_sample`` the sample of the split counts where the method was tested on that alone.
        """
        wanted = {"method": variant.method, "overrides": dict(variant.overrides)}
        wanted |= {"subject": subject, "test_parameters": parameters}
        for name in (split, split + SAMPLE_SUFFIX) if or_sample else (split,):
            values = [quantity.of_row(row) for row in self.select(split=name, **wanted)]
            if known := tuple(value for value in values if value is not None):
                return SeedScores(known, name.endswith(SAMPLE_SUFFIX))
        return None

    def mean_of(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """Mean over all rows of a subject and split, for what depends on neither method nor seed."""
        return self._mean(subject, split, quantity.of_row)

    def nearest_frame(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """The metric of the nearest training frame, which depends on neither method nor seed."""
        return self._mean(subject, split, lambda row: quantity.of(row[NEAREST_FRAME]))

    def _mean(self, subject: str, split: str, read: Callable[[Row], float | None]) -> float | None:
        """Mean of a number of each row; of a sample of the split where it was tested on that alone."""
        for name in (split, split + SAMPLE_SUFFIX):
            rows = self.select(subject=subject, split=name, test_parameters=STRICT)
            if known := [value for row in rows if (value := read(row)) is not None]:
                return mean(known)
        return None
