"""What a run's folder tells of it, whole or torn."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from partnerface.runs.run_folder import CHECKPOINT, SweepRun, parameter_digest
from partnerface.training.resume.run_checkpoint import last_checkpoint
from partnerface.training.resume.csv_appender import CsvAppender


@pytest.fixture
def run(tmp_path: Path) -> SweepRun:
    made = SweepRun(tmp_path / "r", {"a": 1}, "val/psnr")
    made.prepare()
    return made


def _checkpoint(run: SweepRun) -> Path:
    path = run.folder / CHECKPOINT
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_digests_ignore_order_and_nothing_else() -> None:
    assert parameter_digest({"a": 1, "b": 2}) == parameter_digest({"b": 2, "a": 1})
    rows = [{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": 1, "b": 1}, {}]
    assert len({parameter_digest(row) for row in rows}) == len(rows)


def test_digests_are_the_same_in_another_process() -> None:
    code = "from partnerface.runs.run_folder import parameter_digest as d; print(d({'a': 'x', 'b': 0.1}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == parameter_digest({"b": 0.1, "a": "x"})


def test_a_run_goes_from_waiting_to_finished(run: SweepRun) -> None:
    assert run.state == "waiting"
    run.add_attempt(None, 2.0)
    assert run.state == "interrupted"
    CsvAppender(run.folder).log_metrics({"val/psnr": 20.5, "train/loss": 1.0}, 1)
    CsvAppender(run.folder).log_metrics({"val/psnr": 21.25}, 2)
    run.add_attempt(0, 3.0)
    assert run.state == "finished"
    assert run.value() == 21.25
    assert run.record().seconds == 5.0
    assert not run.resumes


def test_an_interrupted_run_goes_on_from_its_checkpoint(run: SweepRun) -> None:
    path = _checkpoint(run)
    assert path == last_checkpoint(run.folder)
    assert run.state == "interrupted"
    assert run.resumes
    run.add_attempt(1, 1.0)
    assert (run.state, run.resumes) == ("failed", True)
    run.prepare()
    assert path.exists()


def test_one_that_ended_without_the_metric_starts_afresh(run: SweepRun) -> None:
    path = _checkpoint(run)
    CsvAppender(run.folder).log_metrics({"val/loss": 20.5}, 1)
    run.add_attempt(0, 1.0)
    assert (run.state, run.resumes) == ("failed", False)
    assert run.reason() == "logged no val/psnr"
    run.prepare()
    assert not path.exists()
    assert run.logged() == {}


@pytest.mark.parametrize("value", ["nan", "inf", "many"])
def test_what_is_no_number_is_no_result(run: SweepRun, value: str) -> None:
    (run.folder / "metrics.csv").write_text(f"step,seconds,name,value\n1,1,val/psnr,{value}\n")
    run.add_attempt(0, 1.0)
    assert run.state == "failed"
    assert run.reason() == "val/psnr is not finite"


def test_torn_files_are_no_results(run: SweepRun) -> None:
    (run.folder / "metrics.csv").write_text("step,seconds,name,value\n1,1,val/psnr,20\n2,2,val/psn")
    assert run.value() == 20
    for torn in ("", "{", "[]", '{"exit_code": 0}'):
        (run.folder / "run.json").write_text(torn)
        assert run.record() is None
        assert run.state == "waiting"


def test_the_reason_is_the_last_line_of_the_log(run: SweepRun) -> None:
    run.add_attempt(3, 1.0)
    assert run.reason() == "exit code 3"
    (run.folder / "log.txt").write_bytes(
        b"x" * 20000 + b"\nTraceback\n  ValueError: \xff " + b"y" * 500 + b"z\n\n \n"
    )
    assert run.reason().endswith("yz")
    assert len(run.reason()) == 200
    assert json.loads((run.folder / "run.json").read_text())["parameters"] == {"a": 1}
