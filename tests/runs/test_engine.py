"""A folder of runs is held by one command at a time, and by runs that one has left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.runs.engine import locked


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
