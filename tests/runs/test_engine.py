"""A folder of runs is held by one command and its runs; the time left against hand arithmetic."""

import subprocess
import sys
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.runs.engine import UNKNOWN, RunsProgress, locked, seconds_left


def test_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="in use by another command"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_run_that_was_left_behind_holds_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    try:
        with pytest.raises(UserError, match="in use by another command"), locked(tmp_path):
            pass
    finally:
        child.communicate(b"\n", timeout=20)
    with locked(tmp_path):
        pass


def _alike(*seconds: float) -> list[tuple[float, float]]:
    """Runs that are expected to last equally long."""
    return [(1.0, taken) for taken in seconds]


@pytest.mark.parametrize(
    ("finished", "running", "waiting", "workers", "expected"),
    [
        (_alike(10, 20), [], [], 2, 0),
        # One worker: what is left of the one that is running, then the others.
        (_alike(10), _alike(4), _alike(0, 0, 0), 1, 6 + 30),
        # Two workers with 6 and 1 left: three more end at 11, 16, 21.
        (_alike(10), _alike(4, 9), _alike(0, 0, 0), 2, 21),
        # One that is late is taken to end now.
        (_alike(10), _alike(25), _alike(0), 1, 10),
        # More workers than runs.
        (_alike(10), _alike(2), [], 8, 8),
        (_alike(10), _alike(2), _alike(0, 0, 0), 8, 10),
        # Not begun yet; one was interrupted after 15 of its 20 seconds.
        (_alike(10, 30), [], _alike(0, 0, 15), 2, 25),
        # None has finished: costs are seconds. The long one comes last and is waited for.
        ([], [], [(10.0, 0.0), (10.0, 0.0), (100.0, 0.0)], 2, 110),
        # Runs take half as long as expected here.
        ([(60.0, 20.0), (20.0, 20.0)], [(60.0, 10.0)], [(100.0, 0.0)], 1, 20 + 50),
    ],
)
def test_time_left(finished, running, waiting, workers, expected) -> None:
    assert seconds_left(finished, running, waiting, workers) == expected


def _end(run, seconds: float, code: int = 0) -> None:
    run.prepare()
    (run.folder / "metrics.csv").write_text("step,seconds,name,value\n1,1,val/score,3.25\n")
    run.add_attempt(code, seconds)


def test_a_line_for_each_run(make_run, capsys) -> None:
    runs = [make_run(name, x=1) for name in "abcd"]
    with RunsProgress("p", runs, 2) as progress:
        progress.tick([(runs[0], 3.0), (runs[1], 3.0)])
        _end(runs[1], 2.0, code=3)
        progress.end(runs[1])
        _end(runs[0], 10.0)
        progress.end(runs[0])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"4 runs; {UNKNOWN}, 2 at once",
        f"1/4 b: failed: exit code 3; {UNKNOWN}",
        "2/4 a: val/score 3.25 in 0:00:10; about 0:00:10 left",
    ]


def test_what_was_done_before_counts(make_run, capsys) -> None:
    """One run has finished, one goes on from its checkpoint after 6 of 10 seconds, one was lost after 5."""
    runs = [make_run(name, x=1) for name in "abc"]
    _end(runs[0], 10.0)
    for run, seconds in zip(runs[1:], (6.0, 5.0), strict=True):
        run.prepare()
        run.add_attempt(None, seconds)
    (runs[1].folder / "checkpoints").mkdir()
    (runs[1].folder / "checkpoints" / "last.ckpt").touch()
    with RunsProgress("p", runs, 1):
        pass
    assert capsys.readouterr().err == "1 of 3 runs have finished before; about 0:00:14 left, 1 at once\n"
