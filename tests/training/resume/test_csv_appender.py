"""The log is appended to, also by a second launch, and never torn."""

import csv
import resource
import signal
from pathlib import Path

from partnerface.training.resume.csv_appender import CsvAppender


def _rows(run: Path) -> list[tuple[str, str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [(r["step"], r["name"], r["value"]) for r in csv.DictReader(file)]


def test_a_second_launch_keeps_the_rows_of_the_first(tmp_path: Path) -> None:
    """Lightning's CSV logger deletes them."""
    CsvAppender(tmp_path / "run").log_metrics({"train/psnr": 20.0, "epoch": 0}, 5)
    CsvAppender(tmp_path / "run").log_metrics({"val/psnr": 1 / 3}, 10)
    assert _rows(tmp_path / "run") == [("5", "train/psnr", "20"), ("10", "val/psnr", "0.333333")]
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        assert all(float(row["seconds"]) >= 0 for row in csv.DictReader(file))


def test_the_same_values_come_once(tmp_path: Path) -> None:
    log = CsvAppender(tmp_path)
    for value in (1.0, 1.0, 2.0, 1.0):
        log.log_metrics({"train/psnr": value}, 3)
    assert [value for _, _, value in _rows(tmp_path)] == ["1", "2", "1"]


def test_rows_after_the_checkpoint_are_cut(tmp_path: Path) -> None:
    log = CsvAppender(tmp_path)
    for step in (4, 9, 14):
        log.log_metrics({"train/psnr": step}, step)
        log.log_metrics({"val/psnr": step}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("19,12.3,train/ps")
    resumed = CsvAppender(tmp_path)
    resumed.cut(9)
    kept = [("4", "train/psnr", "4"), ("4", "val/psnr", "4"), ("9", "train/psnr", "9")]
    assert _rows(tmp_path) == [*kept, ("9", "val/psnr", "9")]
    resumed.cut(9, without_validation=True)
    assert _rows(tmp_path) == kept
    resumed.log_metrics({"val/psnr": 9.5}, 9)
    assert _rows(tmp_path) == [*kept, ("9", "val/psnr", "9.5")]
    resumed.cut(-1)
    assert _rows(tmp_path) == []
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_the_clock_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,seconds,name,value\n3,500.00,train/psnr,20\n")
    log = CsvAppender(tmp_path)
    log.cut(3)
    log.log_metrics({"train/psnr": 21.0}, 4)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert 500 <= float(list(csv.DictReader(file))[-1]["seconds"]) < 560


def test_a_log_that_is_not_there_needs_no_cut(tmp_path: Path) -> None:
    CsvAppender(tmp_path / "run").cut(3)
    assert not (tmp_path / "run").exists()


def test_a_disk_without_room_costs_rows_and_nothing_else(tmp_path: Path, capsys) -> None:
    log = CsvAppender(tmp_path)
    log.log_metrics({"train/psnr": 20.0}, 0)
    whole = (tmp_path / "metrics.csv").read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 5, limits[1]))
    try:
        log.log_metrics({"train/psnr": 21.0}, 1)
        log.log_metrics({"train/psnr": 22.0}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "metrics.csv").read_bytes() == whole
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "metrics.csv: cannot be written" in lines[0]
    log.log_metrics({"train/psnr": 23.0}, 3)
    assert _rows(tmp_path) == [("0", "train/psnr", "20"), ("3", "train/psnr", "23")]
