"""Processes of one run take turns; a process alone waits for nobody."""

import subprocess
import sys
from pathlib import Path

import pytest

from partnerface.data.process_lock import one_after_another

CODE = """
import sys, time
from pathlib import Path
from partnerface.data.process_lock import one_after_another
made = Path(sys.argv[1]) / "made"
with one_after_another(made):
    if not made.exists():
        time.sleep(0.3)
        made.mkdir()
        print("made it")
"""


def test_only_the_first_of_two_makes_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    processes = [
        subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(printed) == ["", "made it\n"]


def test_a_process_alone_leaves_no_lock(tmp_path: Path, monkeypatch) -> None:
    for name in ("LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: pytest.fail("no lock is needed"))
    with one_after_another(tmp_path / "dataset"):
        pass
    assert list(tmp_path.iterdir()) == []
