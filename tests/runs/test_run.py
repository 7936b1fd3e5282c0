"""What a run's folder tells of it, whole or torn."""

import json
from pathlib import Path

import pytest

import partnerface
from partnerface.runs import run as of_runs
from partnerface.runs.run import LAST_CHECKPOINT, Run
from partnerface.training.resume.csv_appender import CsvAppender
from partnerface.training.resume.run_checkpoint import last_checkpoint


@pytest.fixture
def run(make_run) -> Run:
    made = make_run("r", a=1)
    made.prepare()
    return made


def _checkpoint(run: Run) -> Path:
    path = run.folder / LAST_CHECKPOINT
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_run_goes_from_waiting_to_finished(run: Run) -> None:
    assert run.state == "waiting"
    run.add_attempt(None, 2.0)
    assert run.state == "interrupted"
    CsvAppender(run.folder).log_metrics({"val/score": 20.5, "train/loss": 1.0}, 1)
    CsvAppender(run.folder).log_metrics({"val/score": 21.25}, 2)
    run.add_attempt(0, 3.0)
    assert run.state == "finished"
    assert run.value() == 21.25
    assert run.attempts().seconds == 5.0
    assert not run.resumes


def test_an_interrupted_run_goes_on_from_its_checkpoint(run: Run) -> None:
    path = _checkpoint(run)
    assert path == last_checkpoint(run.folder)
    assert run.state == "interrupted"
    assert run.resumes
    run.add_attempt(1, 1.0)
    assert (run.state, run.resumes) == ("failed", True)
    run.prepare()
    assert path.exists()


def test_a_run_says_with_which_code_it_began(run: Run, monkeypatch) -> None:
    """Not that of whoever tests it later, nor of an attempt that continues it."""
    assert run.environment()["version"] == partnerface.__version__
    monkeypatch.setattr(of_runs, "environment", lambda: {"version": "later", "commit": "b", "machine": {}})
    _checkpoint(run)
    run.add_attempt(None, 1.0)
    run.prepare()
    assert run.environment()["version"] == partnerface.__version__
    run.add_attempt(0, 1.0)
    run.prepare()
    assert run.environment()["version"] == "later"
    (run.folder / "environment.json").write_text("{")
    assert run.environment() == {}


def test_one_that_ended_without_the_metric_starts_afresh(run: Run) -> None:
    path = _checkpoint(run)
    CsvAppender(run.folder).log_metrics({"val/loss": 20.5}, 1)
    run.add_attempt(0, 1.0)
    assert (run.state, run.resumes) == ("failed", False)
    assert run.failure() == "logged no val/score"
    run.prepare()
    assert not path.exists()
    assert run.logged() == {}


@pytest.mark.parametrize("value", ["nan", "inf", "many"])
def test_what_is_no_number_is_no_result(run: Run, value: str) -> None:
    (run.folder / "metrics.csv").write_text(f"step,seconds,name,value\n1,1,val/score,{value}\n")
    run.add_attempt(0, 1.0)
    assert run.state == "failed"
    assert run.failure() == "val/score is not finite"


def test_torn_files_are_no_results(run: Run) -> None:
    (run.folder / "metrics.csv").write_text("step,seconds,name,value\n1,1,val/score,20\n2,2,val/scor")
    assert run.value() == 20
    for torn in ("", "{", "[]", '{"exit_code": 0}'):
        (run.folder / "run.json").write_text(torn)
        assert run.attempts() is None
        assert run.state == "waiting"


def test_the_reason_is_the_last_line_of_the_log(run: Run) -> None:
    run.add_attempt(3, 1.0)
    assert run.failure() == "exit code 3"
    (run.folder / "log.txt").write_bytes(
        b"x" * 20000 + b"\nTraceback\n  ValueError: \xff " + b"y" * 500 + b"z\n\n \n"
    )
    assert run.failure().endswith("yz")
    assert len(run.failure()) == 200
    assert json.loads((run.folder / "run.json").read_text())["parameters"] == {"a": 1}
