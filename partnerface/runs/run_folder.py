"""SweepRun: one combination of parameters and the folder in which its run leaves its traces."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

RECORD_FILE, LOG_FILE, METRICS_FILE = "run.json", "log.txt", "metrics.csv"
CHECKPOINT = Path("checkpoints") / "last.ckpt"
DIGEST_LENGTH = 10
REASON_LENGTH = 200

State = Literal["waiting", "interrupted", "failed", "finished"]


def parameter_digest(parameters: Mapping[str, Any]) -> str:
    """A short name for parameters, the same on every machine and for every order of them."""
    text = json.dumps(dict(parameters), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class RunRecord:
    """What is known of the attempts so far.

    Attributes:
        exit_code: of the last attempt; none if it was interrupted.
        seconds: wall time of all attempts.
    """

    exit_code: int | None
    seconds: float


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep.

    Attributes:
        folder: of this run alone, named by the digest of its parameters.
        parameters: name and value of each.
        metric: the logged value that is asked for.
    """

    folder: Path
    parameters: dict[str, Any]
    metric: str

    @property
    def state(self) -> State:
        """How far it is; a run that ended well without the metric has failed."""
        record = self.record()
        if record is None:
            return "interrupted" if (self.folder / CHECKPOINT).is_file() else "waiting"
        if record.exit_code is None:
            return "interrupted"
        return "finished" if record.exit_code == 0 and self.value() is not None else "failed"

    @property
    def resumes(self) -> bool:
        """Whether a next attempt goes on from the last checkpoint: not where that has no more to learn."""
        record = self.record()
        ended = record is not None and record.exit_code == 0
        return not ended and (self.folder / CHECKPOINT).is_file()

    def prepare(self) -> None:
        """Make the folder ready for an attempt."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.resumes:
            for left in (CHECKPOINT, Path(METRICS_FILE)):
                (self.folder / left).unlink(missing_ok=True)

    def record(self) -> RunRecord | None:
        try:
            found = json.loads((self.folder / RECORD_FILE).read_text())
            return RunRecord(found["exit_code"], float(found["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def add_attempt(self, exit_code: int | None, seconds: float) -> None:
        """Write down how an attempt ended."""
        before = self.record()
        total = seconds + (before.seconds if before else 0.0)
        content = {"parameters": self.parameters, "exit_code": exit_code, "seconds": round(total, 2)}
        partial = self.folder / f".{RECORD_FILE}.partial"
        partial.write_text(json.dumps(content, indent=1, default=str) + "\n")
        os.replace(partial, self.folder / RECORD_FILE)

    def logged(self) -> dict[str, float]:
        """Last value of everything in the run's ``metrics.csv`` (rows ``step, seconds, name, value``)."""
        values: dict[str, float] = {}
        try:
            with (self.folder / METRICS_FILE).open(newline="") as file:
                for row in csv.DictReader(file):
                    # A run that was killed may leave half a row.
                    if row.get("name") and row.get("value"):
                        values[row["name"]] = _as_float(row["value"])
        except OSError:
            pass
        return values

    def value(self) -> float | None:
        """Last value of the metric, if it was logged and is a finite number."""
        value = self.logged().get(self.metric, math.nan)
        return value if math.isfinite(value) else None

    def reason(self) -> str:
        """One line on why it failed."""
        record = self.record()
        if record is not None and record.exit_code == 0:
            logged = self.logged()
            return f"{self.metric} is not finite" if self.metric in logged else f"logged no {self.metric}"
        lines = [line.strip() for line in self._log_end().splitlines() if line.strip()]
        return lines[-1][-REASON_LENGTH:] if lines else f"exit code {record.exit_code if record else None}"

    def _log_end(self) -> str:
        try:
            with (self.folder / LOG_FILE).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _as_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
