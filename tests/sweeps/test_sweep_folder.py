"""A sweep's folder is held by one sweep, and by one command."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.runs.run_folder import SweepRun
from partnerface.sweeps.sweep_file import Sweep
from partnerface.sweeps.sweep_folder import check_folder, locked
from partnerface.sweeps.sweep_report import write_report

SWEEP = Sweep("s", "", "grid", "loss", False, (), ("a", "${args}"), None, None)


def test_a_new_or_empty_folder_will_do(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", SWEEP)
    check_folder(tmp_path, SWEEP)
    with locked(tmp_path):
        check_folder(tmp_path, SWEEP)


def test_other_files_and_other_commands(tmp_path: Path) -> None:
    write_report(tmp_path, SWEEP, [SweepRun(tmp_path / "r", {"a": 1}, "loss")], {})
    check_folder(tmp_path, replace(SWEEP, metric="psnr", maximize=True))
    with pytest.raises(UserError, match="holds runs of another command"):
        check_folder(tmp_path, replace(SWEEP, command=("b", "${args}")))
    for torn in ("{", "[]", "3"):
        (tmp_path / "sweep.json").write_text(torn)
        with pytest.raises(UserError, match="not readable"):
            check_folder(tmp_path, SWEEP)
    (tmp_path / "sweep.json").unlink()
    with pytest.raises(UserError, match="holds other files"):
        check_folder(tmp_path, SWEEP)


def test_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="a sweep is at work in it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_run_that_was_left_behind_holds_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    try:
        with pytest.raises(UserError, match="a sweep is at work in it"), locked(tmp_path):
            pass
    finally:
        child.communicate(b"\n", timeout=20)
    with locked(tmp_path):
        pass
