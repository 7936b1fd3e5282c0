"""results.json: a row for each run, test split and protocol; MethodResults selects and averages its rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

from partnerface.benchmarks.methods.compared import MethodVariant
from partnerface.benchmarks.methods.run import (
    CONVERGED,
    ENVIRONMENT_FILE,
    METRICS_FILES,
    SCRATCH,
    BenchmarkRun,
)
from partnerface.data.regions import NEAREST_FRAME
from partnerface.data.splits import HARD_SPLITS, SAMPLE_SUFFIX
from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text
from partnerface.runs.results import SeedScores
from partnerface.runs.run import LOGGED_VALUES_FILE

RESULTS_FILE = "results.json"

Row = dict[str, Any]


TRAIN = "train"
"""Name of the split of the training frames, of which the true motion alone is measured."""


def rows_of(run: BenchmarkRun) -> list[Row]:
    """The rows of a finished run: one for each test split and protocol, and `TRAIN` of known true motion.

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
            "start": run.start,
            "budget": run.budget.as_json(),
            "statics_budget": None if run.after is None else run.after.budget.as_json(),
            "metrics": {
                name: values for name, values in regions.items() if name not in (NEAREST_FRAME, FINE)
            },
            **_motion_of(report, split),
            NEAREST_FRAME: regions.get(NEAREST_FRAME, {}),
            "frames": protocol["split_frames" if split == TRAIN else "num_frames"][split],
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
        for split, regions in [*report["splits"].items(), *([(TRAIN, {})] if _has_motion(report) else [])]
    ]


FINE = "fine_motion"
EXPLAINED = "explained"
MOTION_KEYS = ("mm_left", "mm_nothing", "cosine", EXPLAINED)


def _has_motion(report: dict[str, Any]) -> bool:
    return TRAIN in (report.get("motion") or {})


def _motion_of(report: dict[str, Any], split: str) -> dict[str, Any]:
    """What a report says about the fine motion of a split, where that is known: nothing of real videos.

    ``mm_left``, ``mm_nothing``, ``cosine`` and ``explained`` (the share of the millimetres that is gone) by
    region of the surface, and ``fine_motion``: PSNR, LPIPS and so on of the pixels that the motion changes,
    with ``ceiling_psnr``, ``sampling_psnr`` and ``counts``.
    """
    regions = report["splits"].get(split, {})
    motion = dict((report.get("motion") or {}).get(split, {}))
    if "mm_left" in motion:
        nothing = motion["mm_nothing"]
        motion[EXPLAINED] = {
            region: 1 - left / nothing[region] if left is not None and nothing[region] else None
            for region, left in motion["mm_left"].items()
        }
    found = {key: motion[key] for key in MOTION_KEYS if key in motion}
    return found | ({FINE: regions[FINE]} if FINE in regions else {})


def _steps(run: BenchmarkRun) -> int | None:
    """Steps of the whole training; None if none was logged."""
    with (run.folder / LOGGED_VALUES_FILE).open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row.get("name") == run.metric]
    return steps[-1] if steps else None


def read_results(path: Path) -> list[Row]:
    """Rows that earlier calls have written, of `SCRATCH` if older than ``start``; none without a file.

    Raises:
        UserError: the file does not hold such rows.
    """
    if not path.is_file():
        return []
    rows = _load(path)
    keys = {"method", "overrides", "subject", "split", "protocol", "seed", "budget", "metrics", "command"}
    if not isinstance(rows, list) or any(not isinstance(r, dict) or keys - r.keys() for r in rows):
        raise UserError(f"{path}: holds something else than a benchmark's results; choose another --out")
    return [{"start": SCRATCH, "statics_budget": None, **row} for row in rows]


def gather_rows(path: Path, runs: Iterable[BenchmarkRun]) -> list[Row]:
    """Add the rows of all finished runs to the file and return all that it holds then.

    A row replaces that of the same method, subject, split, seed and start.
    """
    new = [row for run in runs if run.tested and run.state == "finished" for row in rows_of(run)]
    key = itemgetter("method", "overrides", "subject", "split", "protocol", "seed", "start")
    found = {json.dumps(key(row), sort_keys=True): row for row in [*read_results(path), *new]}
    rows = list(found.values())
    # A line for each row: a third of the size, and a later version of the file differs in whole rows.
    replace_text(path, "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    return rows


def result_text(run: BenchmarkRun) -> str:
    """What a finished run scores by split, for a line of progress.

    The share of the fine face's true motion that it explains where that is known, elsewhere PSNR in the head.
    """
    if not run.tested:
        return "trained"
    rows = rows_of(run)
    shares = {row["split"]: row[EXPLAINED].get("fine_face") for row in rows if EXPLAINED in row}
    known = {split: f"{share:.0%} explained" for split, share in shares.items() if share is not None}
    if not known:
        psnr = {row["split"]: row["metrics"].get("head_mask", {}).get("psnr") for row in rows}
        known = {split: f"{value:.2f} dB" for split, value in psnr.items() if value is not None}
    whole = {split: text for split, text in known.items() if not split.endswith(SAMPLE_SUFFIX)}
    shown = [f"{split.replace('_', ' ')} {text}" for split, text in (whole or known).items()]
    return ", ".join(shown) or "no score"


def check_budgets(path: Path, rows: Iterable[Row], runs: Iterable[BenchmarkRun]) -> None:
    """Keep results under different budgets in different folders.

    Raises:
        UserError: the rows of a subject, from the file ``path``, have another budget than its new runs.
    """

    def budgets(run: BenchmarkRun) -> tuple[dict[str, float], dict[str, float] | None]:
        return run.budget.as_json(), None if run.after is None else run.after.budget.as_json()

    new = {(run.subject.name, run.start): budgets(run) for run in runs if run.tested}
    for row in rows:
        budget, statics = row["budget"], row["statics_budget"]
        if (budget, statics) != new.get((row["subject"], row["start"]), (budget, statics)):
            found = " ".join(f"{name} {value:g}" for name, value in budget.items())
            after = " ".join(f"{name} {value:g}" for name, value in (statics or {}).items())
            found += f" after statics of {after}" if after else ""
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
        protocol: str = STRICT,
        or_sample: bool = False,
    ) -> SeedScores | None:
        """Scores of all seeds, of trainings with the same start; None where no run has the metric.

        ``protocol`` says where the head parameters of test frames came from, ``strict`` or ``refined``. With
        ``or_sample`` the sample of the split counts where the method was tested on that alone.
        """
        wanted = {"method": variant.method, "overrides": dict(variant.overrides)}
        wanted |= {"subject": subject, "protocol": protocol}
        for name in (split, split + SAMPLE_SUFFIX) if or_sample else (split,):
            values = [quantity.of_row(row) for row in self.select(split=name, **wanted)]
            if known := tuple(value for value in values if value is not None):
                return SeedScores(known, name.endswith(SAMPLE_SUFFIX))
        return None

    def mean_of(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """Mean over all rows of a subject and split, for what depends on neither method nor seed."""
        rows = self.select(subject=subject, split=split, protocol=STRICT)
        known = [value for row in rows if (value := quantity.of_row(row)) is not None]
        return mean(known) if known else None

    def nearest_frame(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """The metric of the nearest training frame, which depends on neither method nor seed."""
        rows = self.select(subject=subject, split=split, protocol=STRICT)
        known = [value for row in rows if (value := quantity.of(row[NEAREST_FRAME])) is not None]
        return mean(known) if known else None
