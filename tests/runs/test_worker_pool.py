"""Runs at once, failures that stop no other, interrupts that keep what is done."""

import os
import signal
import time
from pathlib import Path

import pytest

from partnerface.runs import worker_pool
from partnerface.runs.run_folder import SweepRun
from partnerface.runs.worker_pool import WorkerPool


@pytest.fixture
def make_pool(command: list[str], tmp_path: Path):
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    def make(workers: int, on_tick=lambda at_work: None) -> tuple[WorkerPool, list[SweepRun]]:
        ended: list[SweepRun] = []

        def command_of(run: SweepRun) -> list[str]:
            return [*command, *(f"--{name}={value}" for name, value in run.parameters.items())]

        return WorkerPool(workers, command_of, lock, ended.append, on_tick), ended

    yield make
    os.close(lock)


def _runs(folder: Path, *rows: dict) -> list[SweepRun]:
    return [SweepRun(folder / str(place), row, "val/score") for place, row in enumerate(rows)]


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_all_run_and_a_failure_stops_no_other(make_pool, tmp_path: Path, workers: int) -> None:
    at_once: list[int] = []
    pool, ended = make_pool(workers, lambda at_work: at_once.append(len(at_work)))
    runs = _runs(tmp_path, {"x": 1}, {"fail": True}, {"x": 3}, {"x": 4}, {"x": 5})
    pool.run(runs)
    assert [run.state for run in runs] == ["finished", "failed", "finished", "finished", "finished"]
    assert [run.value() for run in runs] == [-9, None, -1, 0, -1]
    assert runs[1].reason() == "ValueError: no such luck"
    assert sorted(run.folder.name for run in ended) == list("01234")
    assert max(at_once) <= workers
    assert all(run.record().seconds < 20 for run in runs)


@pytest.mark.parametrize("command", [["/bin/sh", "-c", "echo threads=$OMP_NUM_THREADS"]])
@pytest.mark.parametrize(("workers", "threads"), [(1, ""), (2, "4"), (3, "2"), (9, "1")])
def test_runs_at_once_share_the_usable_cores(
    make_pool, tmp_path: Path, monkeypatch, workers: int, threads: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(worker_pool, "usable_cores", lambda: 8)
    pool, _ = make_pool(workers)
    [run] = runs = _runs(tmp_path, {"x": 1})
    pool.run(runs)
    assert (run.folder / "log.txt").read_text() == f"threads={threads}\n"


def test_no_runs(make_pool) -> None:
    pool, ended = make_pool(2)
    pool.run([])
    assert ended == []


@pytest.mark.parametrize("by_signal", [False, True])
def test_an_interrupt_stops_the_runs_and_keeps_what_is_done(
    make_pool, tmp_path: Path, by_signal: bool
) -> None:
    runs = _runs(tmp_path, {"x": 1}, {"wait": True}, {"wait": True, "x": 2}, {"x": 3})

    def interrupt(at_work: list[float]) -> None:
        if runs[0].state == "finished" and all((run.folder / "starts").exists() for run in runs[1:3]):
            # Time to come from the note of the start to the wait.
            time.sleep(0.2)
            if not by_signal:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)

    pool, ended = make_pool(2, interrupt)
    before = signal.getsignal(signal.SIGTERM)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run(runs)
    assert time.monotonic() - start < 25
    assert signal.getsignal(signal.SIGTERM) is before
    assert [run.state for run in runs] == ["finished", "interrupted", "interrupted", "waiting"]
    assert [run.resumes for run in runs] == [False, True, True, False]
    assert [run.folder.name for run in ended] == ["0"]


def test_one_that_ignores_signals_is_killed(make_pool, tmp_path: Path, monkeypatch) -> None:
    patience = ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0))
    monkeypatch.setattr(worker_pool, "PATIENCE", patience)
    run = SweepRun(tmp_path / "deaf", {}, "val/score")

    def interrupt(at_work: list[float]) -> None:
        if (tmp_path / "ready").exists():
            raise KeyboardInterrupt

    pool, _ = make_pool(1, interrupt)
    pool.command_of = lambda run: [
        "/bin/sh",
        "-c",
        f"trap '' INT TERM; touch {tmp_path}/ready; sleep 60 & wait; wait",
    ]
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run([run])
    assert time.monotonic() - start < 20
    assert run.state == "interrupted"
