"""results.json: a row for each run, test split and protocol; MethodResults selects and averages its rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from partnerface.benchmarks.methods.compared import MethodVariant
from partnerface.benchmarks.methods.run import ENVIRONMENT_FILE, METRICS_FILES, BenchmarkRun
from partnerface.data.regions import NEAREST_FRAME
from partnerface.data.splits import SAMPLE_SUFFIX
from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text
from partnerface.runs.results import SeedScores
from partnerface.runs.run import LOGGED_VALUES_FILE

RESULTS_FILE = "results.json"

Row = dict[str, Any]


def rows_of(run: BenchmarkRun) -> list[Row]:
    """The rows of a finished run.

    Raises:
        UserError: a file in the run's folder is unreadable.
    """
    environment, attempts = _load(run.folder / ENVIRONMENT_FILE), run.attempts()
    paths = [path for name in METRICS_FILES if (path := run.folder / name).is_file()]
    return [
        {
            "method": run.variant.method,
            "overrides": dict(run.variant.overrides),
            "subject": run.subject.name,
            "source": run.subject.spec,
            "split": split,
            "protocol": protocol["test_parameters"],
            "seed": run.seed,
            "budget": run.budget.as_json(),
            "metrics": {name: values for name, values in regions.items() if name != NEAREST_FRAME},
            NEAREST_FRAME: regions.get(NEAREST_FRAME, {}),
            "frames": protocol["num_frames"][split],
            "train_frames": protocol["num_train_frames"],
            "resolution": protocol["resolution"],
            "lpips": protocol["lpips"],
            "coverage": report.get("coverage", {}).get(split),
            "steps": _steps(run),
            "cpu_seconds": run.logged().get(run.metric),
            "wall_seconds": attempts.seconds if attempts else None,
            "command": run.command,
            **environment,
            "run": run.folder.name,
        }
        for report in map(_load, paths)
        for protocol in [report["protocol"]]
        for split, regions in report["splits"].items()
    ]


def _steps(run: BenchmarkRun) -> int | None:
    """Steps of the whole training; None if none was logged."""
    with (run.folder / LOGGED_VALUES_FILE).open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row.get("name") == run.metric]
    return steps[-1] if steps else None


def read_results(path: Path) -> list[Row]:
    """Rows that earlier calls have written; none if there is no file.

    Raises:
        UserError: the file does not hold such rows.
    """
    if not path.is_file():
        return []
    rows = _load(path)
    keys = {"method", "overrides", "subject", "split", "protocol", "seed", "budget", "metrics", "command"}
    if not isinstance(rows, list) or any(not isinstance(r, dict) or keys - r.keys() for r in rows):
        raise UserError(f"{path}: holds something else than a benchmark's results; choose another --out")
    return rows


def gather_rows(path: Path, runs: Iterable[BenchmarkRun]) -> list[Row]:
    """Add the rows of all finished runs to the file and return all that it holds then.

    A row replaces that of the same method, subject, split and seed.
    """
    new = [row for run in runs if run.state == "finished" for row in rows_of(run)]
    key = itemgetter("method", "overrides", "subject", "split", "protocol", "seed")
    found = {json.dumps(key(row), sort_keys=True): row for row in [*read_results(path), *new]}
    rows = list(found.values())
    replace_text(path, json.dumps(rows, indent=1) + "\n")
    return rows


def head_psnr_text(run: BenchmarkRun) -> str:
    """PSNR inside the head mask of a finished run by split, for a line of progress."""
    values = {row["split"]: row["metrics"].get("head_mask", {}).get("psnr") for row in rows_of(run)}
    whole = {split: value for split, value in values.items() if not split.endswith(SAMPLE_SUFFIX)}
    shown = [
        f"{split.replace('_', ' ')} {v:.2f} dB" for split, v in (whole or values).items() if v is not None
    ]
    return ", ".join(shown) or "no score"


def check_budgets(path: Path, rows: Iterable[Row], runs: Iterable[BenchmarkRun]) -> None:
    """Keep results under different budgets in different folders.

    Raises:
        UserError: the rows of a subject, from the file ``path``, have another budget than its new runs.
    """
    budgets = {run.subject.name: run.budget.as_json() for run in runs}
    for row in rows:
        if row["budget"] != budgets.get(row["subject"], row["budget"]):
            found = " ".join(f"{name} {value:g}" for name, value in row["budget"].items())
            raise UserError(f"{path}: holds {row['subject']} under {found}; choose another --out")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run again") from error


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
        rows: the rows of ``results.json``.
        order: names of methods in the order of tables; others follow.
    """

    def __init__(self, rows: Sequence[Row], order: Sequence[str] = ()) -> None:
        self.rows = list(rows)
        self._order = list(order)

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
        """Names of test splits, the hardest first; samples count as their split."""
        found = dict.fromkeys(row["split"].removesuffix(SAMPLE_SUFFIX) for row in self.rows)
        return sorted(found, key=lambda name: (name != "unseen_expression", name != "temporal"))

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

        ``protocol`` says where the head parameters of test frames came from, ``strict`` or ``refined``. With
        ``or_sample`` the sample of the split counts where the method was tested on that alone.
        """
        wanted = {"method": variant.method, "overrides": dict(variant.overrides)}
        wanted |= {"subject": subject, "protocol": protocol}
        for name in (split, split + SAMPLE_SUFFIX) if or_sample else (split,):
            rows = self.select(split=name, **wanted)
            found = quantity.scores((row["metrics"] for row in rows), name.endswith(SAMPLE_SUFFIX))
            if found is not None:
                return found
        return None

    def nearest_frame(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """The metric of the nearest training frame, which depends on neither method nor seed."""
        rows = self.select(subject=subject, split=split, protocol=STRICT)
        scores = quantity.scores(row[NEAREST_FRAME] for row in rows)
        return None if scores is None else scores.mean
