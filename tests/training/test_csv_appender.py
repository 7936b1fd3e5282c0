"""The log is appended to, also by a second launch."""

import csv
from pathlib import Path

from partnerface.training.csv_appender import CsvAppender


def test_a_second_launch_keeps_the_rows_of_the_first(tmp_path: Path) -> None:
    """Lightning's CSV logger deletes them."""
    CsvAppender(tmp_path / "run").log_metrics({"train/psnr": 20.0, "epoch": 0}, 5)
    CsvAppender(tmp_path / "run").log_metrics({"val/psnr": 1 / 3}, 10)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [(r["step"], r["name"], r["value"]) for r in rows] == [
        ("5", "train/psnr", "20"),
        ("10", "val/psnr", "0.333333"),
    ]
    assert all(float(r["seconds"]) >= 0 for r in rows)
