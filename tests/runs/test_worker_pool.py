"""Runs at once, failures that stop no other, interrupts that keep what is done; and one process of them."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.runs import worker_pool
from partnerface.runs.run import Run
from partnerface.runs.stop_signals import Terminated
from partnerface.runs.worker_pool import CANNOT_START, ChildProcess, WorkerPool


@pytest.fixture
def make_pool(lock: int):
    def make(workers: int, on_tick=lambda running: None) -> tuple[WorkerPool, list[Run]]:
        ended: list[Run] = []
        return WorkerPool(workers, lock, ended.append, on_tick), ended

    return make


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_all_run_and_a_failure_stops_no_other(make_pool, make_run, workers: int) -> None:
    at_once: list[int] = []
    pool, ended = make_pool(workers, lambda running: at_once.append(len(running)))
    rows = ({"x": 1}, {"fail": True}, {"x": 3}, {"x": 4}, {"x": 5})
    runs = [make_run(str(place), **row) for place, row in enumerate(rows)]
    pool.run(runs)
    assert [run.state for run in runs] == ["finished", "failed", "finished", "finished", "finished"]
    assert [run.value() for run in runs] == [-9, None, -1, 0, -1]
    assert runs[1].failure() == "ValueError: no such luck"
    assert sorted(run.folder.name for run in ended) == list("01234")
    assert max(at_once) <= workers
    assert all(run.attempts().seconds < 20 for run in runs)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_starts_when_the_one_before_it_has_ended(make_pool, make_run, workers: int) -> None:
    """However it has ended, and whatever the order; others do not wait."""
    at_once: list[set[str]] = []
    pool, ended = make_pool(workers, lambda running: at_once.append({run.folder.name for run, _ in running}))
    first, failing = make_run("first", x=1), make_run("failing", fail=True)
    later = [replace(make_run(f"after {run.folder.name}", x=2), after=run) for run in (first, failing)]
    # One that comes after a run of an earlier call need not wait.
    alone = replace(make_run("alone", x=3), after=make_run("of another call"))
    pool.run([*later, first, alone, failing])
    order = [run.folder.name for run in ended]
    assert sorted(order) == ["after failing", "after first", "alone", "failing", "first"]
    for run in (first, failing):
        assert order.index(run.folder.name) < order.index(f"after {run.folder.name}")
        assert not any({run.folder.name, f"after {run.folder.name}"} <= names for names in at_once)
    assert later[1].state == "finished"


@pytest.mark.parametrize(("workers", "threads"), [(1, ""), (2, "4"), (3, "2"), (9, "1")])
def test_runs_at_once_share_the_usable_cores(
    make_pool, make_run, monkeypatch, workers: int, threads: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(worker_pool, "usable_cores", lambda: 8)
    pool, _ = make_pool(workers)
    run = make_run("r", "/bin/sh", "-c", "echo threads=$OMP_NUM_THREADS")
    pool.run([run])
    assert (run.folder / "log.txt").read_text() == f"threads={threads}\n"


def test_no_runs(make_pool) -> None:
    pool, ended = make_pool(2)
    pool.run([])
    assert ended == []


@pytest.mark.parametrize("by_signal", [False, True])
def test_an_interrupt_stops_the_runs_and_keeps_what_is_done(make_pool, make_run, by_signal: bool) -> None:
    rows = ({"x": 1}, {"wait": True}, {"wait": True, "x": 2}, {"x": 3})
    runs = [make_run(str(place), **row) for place, row in enumerate(rows)]

    def interrupt(running: list) -> None:
        if runs[0].state == "finished" and all((run.folder / "starts").exists() for run in runs[1:3]):
            # Time to come from the note of the start to the wait.
            time.sleep(0.2)
            if not by_signal:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)

    pool, ended = make_pool(2, interrupt)
    before = signal.getsignal(signal.SIGTERM)
    start = time.monotonic()
    with pytest.raises(Terminated if by_signal else KeyboardInterrupt):
        pool.run(runs)
    assert time.monotonic() - start < 25
    assert signal.getsignal(signal.SIGTERM) is before
    assert [run.state for run in runs] == ["finished", "interrupted", "interrupted", "waiting"]
    assert [run.resumes for run in runs] == [False, True, True, False]
    assert [run.folder.name for run in ended] == ["0"]


def test_one_that_ignores_signals_is_killed(make_pool, make_run, tmp_path: Path, monkeypatch) -> None:
    patience = ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0))
    monkeypatch.setattr(worker_pool, "PATIENCE", patience)
    stubborn = f"trap '' INT TERM; touch {tmp_path}/ready; sleep 60 & wait; wait"
    run = make_run("stubborn", "/bin/sh", "-c", stubborn)

    def interrupt(running: list) -> None:
        if (tmp_path / "ready").exists():
            raise KeyboardInterrupt

    pool, _ = make_pool(1, interrupt)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run([run])
    assert time.monotonic() - start < 20
    assert run.state == "interrupted"


def test_one_that_takes_too_long_is_killed_with_its_children_and_the_next_one_runs(
    make_pool, make_run
) -> None:
    late = make_run("late", "/bin/sh", "-c", "echo begun; sleep 60 & echo $! > $WANDB_DIR/pid; wait")
    object.__setattr__(late, "limit_seconds", 0.5)
    runs = [late, make_run("next", x=4)]
    pool, ended = make_pool(1)
    start = time.monotonic()
    pool.run(runs)
    assert time.monotonic() - start < 20
    assert [run.state for run in runs] == ["failed", "finished"]
    assert late.attempts().exit_code == -signal.SIGKILL
    assert late.failure().startswith("stopped after")
    status = Path(f"/proc/{(late.folder / 'pid').read_text().strip()}/status")
    assert not status.exists() or "(zombie)" in status.read_text()
    assert ended == runs


def _ended(child: ChildProcess) -> int:
    while (code := child.exit_code()) is None:
        time.sleep(0.02)
    return code


def test_its_environment_and_log(make_run, lock: int, monkeypatch) -> None:
    for name in ("WANDB_MODE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    names = "WANDB_DIR WANDB_RUN_ID WANDB_MODE OMP_NUM_THREADS PATH"
    code = f"import os, sys; print(*(os.environ[n] for n in '{names}'.split()), sep='|'); sys.exit(3)"
    run = make_run("abc", sys.executable, "-S", "-c", code)
    assert _ended(ChildProcess(run, lock, 3)) == 3
    folder, name, mode, threads, path = (run.folder / "log.txt").read_text().strip().split("|")
    assert (folder, name, mode, threads) == (str(run.folder), "abc", "disabled", "3")
    assert path.split(":")[0] == str(Path(sys.executable).parent)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    _ended(ChildProcess(run, lock, 3))
    assert "|offline|7|" in (run.folder / "log.txt").read_text().splitlines()[-1]


def test_a_command_that_is_not_there(make_run, lock: int) -> None:
    run = make_run("r", "/no/such/program")
    child = ChildProcess(run, lock)
    assert child.exit_code() == CANNOT_START
    child.send(signal.SIGINT)
    run.add_attempt(CANNOT_START, child.seconds)
    assert run.failure() == "/no/such/program: cannot be started (No such file or directory)"


def test_a_signal_reaches_what_it_has_started(make_run, lock: int, tmp_path: Path) -> None:
    """The shell waits for a child of its own; both must end."""
    run = make_run("r", "/bin/sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    child = ChildProcess(run, lock)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    child.send(signal.SIGTERM)
    assert _ended(child) == -signal.SIGTERM
    grandchild = Path("/proc") / (tmp_path / "pid").read_text().strip()
    if Path("/proc/self").exists():
        deadline = time.monotonic() + 5
        while _alive(grandchild) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _alive(grandchild)


def test_a_background_job_passes_interrupts_on(make_run, lock: int, tmp_path: Path) -> None:
    """Shells start background jobs with interrupts ignored: runs went on and saved nothing."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = f"import pathlib, time; pathlib.Path({str(tmp_path / 'ready')!r}).touch(); time.sleep(60)"
        run = make_run("r", sys.executable, "-S", "-c", code)
        child = ChildProcess(run, lock)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    child.send(signal.SIGINT)
    assert _ended(child) in (130, -signal.SIGINT)
    assert "KeyboardInterrupt" in (run.folder / "log.txt").read_text()


def _alive(process: Path) -> bool:
    try:
        return " Z " not in (process / "stat").read_text()
    except OSError:
        return False
