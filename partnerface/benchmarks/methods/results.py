"""results.json: a row for each run, test split and test parameters."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

from partnerface.benchmarks.methods.run import METRICS_FILES, SCRATCH, BenchmarkRun
from partnerface.data.regions import NEAREST_FRAME
from partnerface.data.splits import SAMPLE_SUFFIX
from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text
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
    attempts = run.attempts()
    paths = [path for name in METRICS_FILES if (path := run.folder / name).is_file()]
    rows = [
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
            "start": run.start,
            "sample": run.sample,
            "head_model": run.subject.head_model and str(run.subject.head_model),
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
            **run.environment(),
            "run": run.folder.name,
        }
        for report in map(_load, paths)
        for protocol in [report["protocol"]]
        for split, regions in [*report["splits"].items(), *([(TRAIN, {})] if _has_motion(report) else [])]
    ]
    return [_rounded(row) for row in rows]


DIGITS = 6
FINE = "fine_motion"
EXPLAINED = "explained"
MOTION_KEYS = ("mm_left", "mm_nothing", "cosine", EXPLAINED)


def _rounded(value: Any) -> Any:
    """A row with numbers of `DIGITS` digits: half the size, and no difference that anyone could measure."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and math.isfinite(value) else value


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
    # Earlier versions knew no protocols of the literature, and called the parameters of the test so.
    return [
        {
            "start": SCRATCH,
            "statics_budget": None,
            **row,
            **({} if "test_parameters" in row else _renamed(row)),
        }
        for row in rows
    ]


def _renamed(row: Row) -> Row:
    return {"test_parameters": row["protocol"], "protocol": None}


def gather_rows(path: Path, runs: Iterable[BenchmarkRun]) -> list[Row]:
    """Add the rows of all finished runs to the file and return all that it holds then.

    A row replaces that of the same method, subject, split, seed and start.
    """
    new = [row for run in runs if run.tested and run.state == "finished" for row in rows_of(run)]
    key = itemgetter("method", "overrides", "subject", "split", "test_parameters", "seed", "start")
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
    """Keep results under different budgets and protocols, and of different frames, in different folders.

    Raises:
        UserError: the rows of a subject, from the file ``path``, have another budget or another protocol than
            its new runs, or were tested on other frames.
    """

    def settings(
        run: BenchmarkRun,
    ) -> tuple[str | None, dict[str, float], dict[str, float] | None, int | None]:
        statics = None if run.after is None else run.after.budget.as_json()
        return run.subject.protocol_name, run.budget.as_json(), statics, run.sample

    new = {(run.subject.name, run.start): settings(run) for run in runs if run.tested}
    for row in rows:
        protocol, budget, statics = row["protocol"], row["budget"], row["statics_budget"]
        old = protocol, budget, statics, row.get("sample")
        wanted = new.get((row["subject"], row["start"]), old)
        if protocol != wanted[0]:
            raise UserError(
                f"{path}: holds {row['subject']} under {protocol or 'no protocol'}; choose another --out"
            )
        if old != wanted:
            found = " ".join(f"{name} {value:g}" for name, value in budget.items())
            after = " ".join(f"{name} {value:g}" for name, value in (statics or {}).items())
            found += f" after statics of {after}" if after else ""
            found += f", tested on {old[-1] or 'all'} frames of a split" if old[-1] != wanted[-1] else ""
            raise UserError(f"{path}: holds {row['subject']} under {found}; choose another --out")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run again") from error
