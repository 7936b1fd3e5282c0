"""CsvAppender: the log that every run has, one row a value, appended to and never rewritten."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only


class CsvAppender(Logger):
    """Appends rows ``step, seconds, name, value`` to ``metrics.csv`` in the run's folder.

    Lightning's CSV logger deletes the rows of the first launch when a run is resumed in its folder,
    and rewrites the whole file for every new column. Rows in long form need no columns.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: Path | str) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.csv"
        self._start = time.monotonic()

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
        """Nothing: ``config.yaml`` in the same folder holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row for each value."""
        seconds = f"{time.monotonic() - self._start:.2f}"
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "seconds", "name", "value"])
            writer.writerows(
                [step, seconds, k, f"{float(v):.6g}"] for k, v in metrics.items() if k != "epoch"
            )
