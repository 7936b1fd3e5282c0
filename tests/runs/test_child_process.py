"""A run's process: its words, its surroundings, its log."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from partnerface.runs.child_process import CANNOT_START, ChildProcess, run_words
from partnerface.runs.run_folder import CHECKPOINT, SweepRun


@pytest.fixture
def run(tmp_path: Path) -> SweepRun:
    return SweepRun(tmp_path / "abc", {"x": 1}, "val/score")


@pytest.fixture
def lock(tmp_path: Path):
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def _ended(child: ChildProcess) -> int:
    while (code := child.exit_code()) is None:
        time.sleep(0.02)
    return code


def test_training_is_given_its_folder_and_its_checkpoint(run: SweepRun) -> None:
    fit = ["/usr/bin/env", "partnerface", "fit", "--a=1"]
    assert run_words(run, fit) == [*fit, "--run_dir", str(run.folder)]
    (run.folder / CHECKPOINT).parent.mkdir(parents=True)
    (run.folder / CHECKPOINT).touch()
    assert run_words(run, fit) == [*fit, "--run_dir", str(run.folder), "--ckpt_path", "last"]
    assert run_words(run, ["python", "train.py"]) == ["python", "train.py"]


def test_its_environment_and_log(run: SweepRun, lock: int, monkeypatch) -> None:
    for name in ("WANDB_MODE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    names = "WANDB_DIR WANDB_RUN_ID WANDB_MODE OMP_NUM_THREADS PATH"
    code = f"import os, sys; print(*(os.environ[n] for n in '{names}'.split()), sep='|'); sys.exit(3)"
    assert _ended(ChildProcess(run, [sys.executable, "-S", "-c", code], lock, 3)) == 3
    folder, name, mode, threads, path = (run.folder / "log.txt").read_text().strip().split("|")
    assert (folder, name, mode, threads) == (str(run.folder), "abc", "disabled", "3")
    assert path.split(":")[0] == str(Path(sys.executable).parent)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    _ended(ChildProcess(run, [sys.executable, "-S", "-c", code], lock, 3))
    assert "|offline|7|" in (run.folder / "log.txt").read_text().splitlines()[-1]


def test_a_command_that_is_not_there(run: SweepRun, lock: int) -> None:
    child = ChildProcess(run, ["/no/such/program"], lock)
    assert child.exit_code() == CANNOT_START
    child.send(signal.SIGINT)
    run.add_attempt(CANNOT_START, child.seconds)
    assert run.reason() == "/no/such/program: cannot be started (No such file or directory)"


def test_a_signal_reaches_what_it_has_started(run: SweepRun, lock: int, tmp_path: Path) -> None:
    """The shell waits for a child of its own; both must end."""
    child = ChildProcess(run, ["/bin/sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], lock)
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


def test_a_background_job_passes_interrupts_on(run: SweepRun, lock: int, tmp_path: Path) -> None:
    """Shells start background jobs with interrupts ignored: runs went on and saved nothing."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = f"import pathlib, time; pathlib.Path({str(tmp_path / 'ready')!r}).touch(); time.sleep(60)"
        child = ChildProcess(run, [sys.executable, "-S", "-c", code], lock)
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
