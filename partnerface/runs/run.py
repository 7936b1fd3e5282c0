"""Run: one of many processes, and the folder that tells how far it has come."""

from __future__ import annotations

import csv
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from partnerface.files.whole_files import replace_text
from partnerface.runs.results import environment

RECORD_FILE, LOG_FILE, ENVIRONMENT_FILE = "run.json", "log.txt", "environment.json"
LOGGED_VALUES_FILE = "metrics.csv"
"""Written by the run itself, with columns ``step, seconds, name, value``."""
CPU_SECONDS = "train/cpu_seconds"
"""Name in it of the CPU seconds of the whole training, written at its end."""
LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"
SCORES_FILE = "metrics.json"
"""Written by a test of the run."""
REASON_LENGTH = 200
LOG_END_BYTES = 8192

State = Literal["waiting", "interrupted", "failed", "finished"]


def run_of_checkpoint(path: Path) -> Path | None:
    """The folder of the run in which a checkpoint lies; None where it lies elsewhere."""
    folder = path.absolute().parent
    return folder.parent if folder.name == LAST_CHECKPOINT.parent.name else None


@dataclass(frozen=True)
class Attempts:
    """All attempts at a run.

    Attributes:
        exit_code: exit code of the last attempt; None if it was interrupted.
        seconds: wall time of all attempts together.
    """

    exit_code: int | None
    seconds: float


class Run(ABC):
    """One of many runs; its state is read from its folder, so that it survives any kill.

    Attributes:
        folder: folder of this run alone.
        parameters: name and value of everything in which runs differ; written to ``run.json``.
        metric: name of the logged value that a run must leave to count as finished.
        expected_seconds: wall time that it should take, or None where nothing is known before the first
            run of its kind has finished.
        limit_seconds: wall time after which an attempt is killed and has failed; None for no limit. It is
            asked once, when the attempt starts.
        after: a run of the same command that has to end first, whose result this one takes; or None.
    """

    folder: Path
    parameters: Mapping[str, Any]
    metric: str
    expected_seconds: float | None = None
    limit_seconds: float | None = None
    after: Run | None = None

    @property
    @abstractmethod
    def title(self) -> str:
        """The run in a line of progress."""

    @property
    @abstractmethod
    def remaining_command(self) -> list[str]:
        """Words of the process that starts the run, or continues what an interrupted attempt has left."""

    @property
    def state(self) -> State:
        """How far the run is; one that exited with 0 but did not log its metric has failed."""
        attempts = self.attempts()
        if attempts is None:
            return "interrupted" if self._has_checkpoint else "waiting"
        if attempts.exit_code is None:
            return "interrupted"
        return "finished" if attempts.exit_code == 0 and self.value() is not None else "failed"

    @property
    def resumes(self) -> bool:
        """Whether the next attempt continues from a checkpoint, which it does not after an exit with 0."""
        attempts = self.attempts()
        return self._has_checkpoint and (attempts is None or attempts.exit_code != 0)

    @property
    def _has_checkpoint(self) -> bool:
        return (self.folder / LAST_CHECKPOINT).is_file()

    def prepare(self) -> None:
        """Make the folder, and remove results of an earlier attempt that will not be continued.

        What begins there, and is not continued, records with which code and on which machine.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.resumes:
            return
        for left in (LAST_CHECKPOINT, LOGGED_VALUES_FILE):
            (self.folder / left).unlink(missing_ok=True)
        here = environment()
        kept = {name: here[name] for name in ("version", "commit", "machine")}
        replace_text(self.folder / ENVIRONMENT_FILE, json.dumps(kept, indent=1) + "\n")

    def environment(self) -> dict[str, Any]:
        """Version, commit and machine with which the run began; empty where they are not known."""
        try:
            found = json.loads((self.folder / ENVIRONMENT_FILE).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def attempts(self) -> Attempts | None:
        """The attempts so far; None before the first has ended, or where the record is damaged."""
        try:
            found = json.loads((self.folder / RECORD_FILE).read_text())
            return Attempts(found["exit_code"], float(found["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def add_attempt(self, exit_code: int | None, seconds: float) -> None:
        """Record how an attempt ended and its wall time; ``exit_code`` is None if it was interrupted."""
        before = self.attempts()
        total = round(seconds + (before.seconds if before else 0.0), 2)
        content = {"parameters": self.parameters, "exit_code": exit_code, "seconds": total}
        replace_text(self.folder / RECORD_FILE, json.dumps(content, indent=1, default=str) + "\n")

    def logged(self) -> dict[str, float]:
        """Last value of every name in the run's ``metrics.csv``; NaN for text that is no number."""
        values: dict[str, float] = {}
        try:
            with (self.folder / LOGGED_VALUES_FILE).open(newline="") as file:
                for row in csv.DictReader(file):
                    # A run that was killed may leave half a row.
                    if row.get("name") and row.get("value"):
                        values[row["name"]] = _as_float(row["value"])
        except OSError:
            pass
        return values

    def value(self) -> float | None:
        """Last logged value of the metric; None if it was not logged or is not finite."""
        value = self.logged().get(self.metric, math.nan)
        return value if math.isfinite(value) else None

    def result(self) -> str:
        """The metric of a finished run, for a line of progress."""
        return f"{self.metric} {self.value():.4g}"

    def failure(self) -> str:
        """One line on why the run failed: the last line of its log, or what is wrong with its metric."""
        attempts = self.attempts()
        if attempts is not None and attempts.exit_code == 0:
            logged = self.metric in self.logged()
            return f"{self.metric} is not finite" if logged else f"logged no {self.metric}"
        lines = [line.strip() for line in self._log_end().splitlines() if line.strip()]
        return lines[-1][-REASON_LENGTH:] if lines else f"exit code {attempts and attempts.exit_code}"

    def _log_end(self) -> str:
        try:
            with (self.folder / LOG_FILE).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_END_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _as_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
