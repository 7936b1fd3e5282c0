"""results.json: a row for each run, split and test parameters; MethodResults selects and averages rows."""

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
from partnerface.benchmarks.methods.run import ENVIRONMENT_FILE, METRICS_FILES, BenchmarkRun
from partnerface.data.regions import NEAREST_FRAME
from partnerface.data.splits import HARD_SPLITS, SAMPLE_SUFFIX
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
            "dataset": protocol.get("dataset"),
            "read_as": protocol.get("read_as"),
            "split": split,
            "protocol": protocol.get("name"),
            "scored": protocol.get("scored"),
            "test_parameters": protocol["test_parameters"],
            "seed": run.seed,
            "sample": run.sample,
            "budget": run.budget.as_json(),
            "metrics": {
                name: values for name, values in regions.items() if name not in (NEAREST_FRAME, FINE)
            },
            **_motion_of(report, split),
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


FINE = "fine_motion"
MOTION_KEYS = ("mm_left", "mm_nothing", "cosine")


def _motion_of(report: dict[str, Any], split: str) -> dict[str, Any]:
    """What a report says about the fine motion of a split, where that is known: nothing of real videos.

    ``mm_left``, ``mm_nothing`` and ``cosine`` by region of the surface, and ``fine_motion``: PSNR, LPIPS and
    so on of the pixels that the motion changes, with ``ceiling_psnr``, ``sampling_psnr`` and ``counts``.
    """
    regions, motion = report["splits"][split], (report.get("motion") or {}).get(split, {})
    found = {key: motion[key] for key in MOTION_KEYS if key in motion}
    return found | ({FINE: regions[FINE]} if FINE in regions else {})


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
    # Earlier versions knew no protocols of the literature, and called the parameters of the test so.
    return [{**row, **({} if "test_parameters" in row else _renamed(row))} for row in rows]


def _renamed(row: Row) -> Row:
    return {"test_parameters": row["protocol"], "protocol": None}


def gather_rows(path: Path, runs: Iterable[BenchmarkRun]) -> list[Row]:
    """Add the rows of all finished runs to the file and return all that it holds then.

    A row replaces that of the same method, subject, split and seed.
    """
    new = [row for run in runs if run.state == "finished" for row in rows_of(run)]
    key = itemgetter("method", "overrides", "subject", "split", "test_parameters", "seed")
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
    """Keep results under different budgets and protocols in different folders.

    Raises:
        UserError: the rows of a subject, from the file ``path``, have another budget or another protocol than
            its new runs.
    """
    runs = list(runs)
    budgets = {run.subject.name: run.budget.as_json() for run in runs}
    protocols = {run.subject.name: run.subject.protocol_name for run in runs}
    for row in rows:
        if row["protocol"] != protocols.get(row["subject"], row["protocol"]):
            found = row["protocol"] or "no protocol"
            raise UserError(f"{path}: holds {row['subject']} under {found}; choose another --out")
        if row["budget"] != budgets.get(row["subject"], row["budget"]):
            found = " ".join(f"{name} {value:g}" for name, value in row["budget"].items())
            raise UserError(f"{path}: holds {row['subject']} under {found}; choose another --out")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run again") from error


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
FINE_PSNR = Quantity(FINE, "psnr")


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
        """Names of test splits, those without training's expressions first; samples count as their split."""
        found = dict.fromkeys(row["split"].removesuffix(SAMPLE_SUFFIX) for row in self.rows)
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
        """Scores of all seeds; None where no run has the metric.

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
        rows = self.select(subject=subject, split=split, test_parameters=STRICT)
        known = [value for row in rows if (value := quantity.of_row(row)) is not None]
        return mean(known) if known else None

    def nearest_frame(self, subject: str, split: str, quantity: Quantity) -> float | None:
        """The metric of the nearest training frame, which depends on neither method nor seed."""
        rows = self.select(subject=subject, split=split, test_parameters=STRICT)
        known = [value for row in rows if (value := quantity.of(row[NEAREST_FRAME])) is not None]
        return mean(known) if known else None
