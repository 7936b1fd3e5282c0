"""CsvAppender: the log that every run has, ``metrics.csv``, one row for each value."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from partnerface.files.whole_files import replace_text

COLUMNS = ["step", "seconds", "name", "value"]
VALIDATION = "val/"


class CsvAppender(Logger):
    """Appends rows ``step, seconds, name, value`` to ``metrics.csv`` in the run's folder.

    Lightning's CSV logger deletes earlier rows when a run is resumed in its folder, and rewrites the whole
    file for every new column; one row for each value needs no new columns. If rows cannot be written (a
    full disk), they are lost, one line on standard error says so, and training continues.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: Path | str) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.csv"
        self._start = time.monotonic()
        self._failed = False
        self._last: tuple[int | None, dict[str, float]] | None = None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def root_dir(self) -> str:
        return str(self.path.parent)

    log_dir = save_dir = root_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> Path:
        return self.path

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: hyperparameters are in ``config.yaml`` in the same folder."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row for each value by name, unless the last call had the same step and values."""
        if (step, metrics) == self._last:
            return
        self._last = step, dict(metrics)
        seconds = f"{time.monotonic() - self._start:.2f}"
        rows = [[step, seconds, k, f"{float(v):.6g}"] for k, v in metrics.items() if k != "epoch"]
        try:
            self._append(rows)
        except OSError as error:
            if not self._failed:
                print(
                    f"partnerface: {self.path}: cannot be written ({error.strerror}); "
                    "metrics are missing there from here on; training continues",
                    file=sys.stderr,
                )
            self._failed = True

    def _append(self, rows: list[list[Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            content = _as_text(rows if size else [COLUMNS, *rows]).encode()
            if file.write(content) < len(content):
                # A disk that is nearly full takes a part of the text; half a row would garble the next.
                os.ftruncate(file.fileno(), size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def cut(self, last_step: int, without_validation: bool = False) -> None:
        """Remove rows that were written after the checkpoint from which a run is resumed.

        Rows up to ``last_step`` are kept, none for -1; those of the validation after that step too, unless
        ``without_validation``.
        """
        if not self.path.is_file():
            return
        kept = [COLUMNS]
        with self.path.open(newline="") as file:
            for row in csv.reader(file):
                # A process that was killed may have left half a row.
                if len(row) != len(COLUMNS) or not row[0].isdigit():
                    continue
                step = int(row[0])
                repeated = without_validation and step == last_step and row[2].startswith(VALIDATION)
                if step <= last_step and not repeated:
                    kept.append(row)
        replace_text(self.path, _as_text(kept))
        if len(kept) > 1:
            self._start = time.monotonic() - float(kept[-1][1])


def _as_text(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
