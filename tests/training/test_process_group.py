"""Processes of a distributed run end as they should."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_an_end_right_after_a_collective_is_no_abort(tmp_path: Path) -> None:
    # Without the wait 7 of 24 ended with -6.
    script = Path(__file__).with_name("ending_processes.py")
    command = [sys.executable, str(script), "10", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(ended.stdout) == [0] * 20, ended.stderr
