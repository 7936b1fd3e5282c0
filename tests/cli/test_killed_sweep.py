"""A sweep that is killed (SIGKILL), alone or with its runs, goes on to the results of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from partnerface.cli.main import main

PROGRAM = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["WANDB_DIR"])
with (folder / "starts").open("a") as starts:
    starts.write("x")
x = float(sys.argv[1].split("=")[1])
while x >= 2 and not (folder.parent.parent / "open").exists():
    time.sleep(0.01)
(folder / "metrics.csv").write_text(f"step,seconds,name,value\\n1,0,score,{-(x - 4) ** 2}\\n")
"""
PATIENCE = 120.0


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    """Four runs of a program of which the first alone ends before there is a file `open`."""
    program, path = tmp_path / "program.py", tmp_path / "sweep.yaml"
    program.write_text(PROGRAM)
    content = {
        "program": str(program),
        "method": "grid",
        "metric": {"name": "score", "goal": "maximize"},
        "parameters": {"x": {"values": [1, 2, 3, 4]}},
        "command": ["${interpreter}", "-S", "${program}", "${args_no_hyphens}"],
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def _wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the moment did not come"
        time.sleep(0.01)


def _starts(out: Path) -> list[int]:
    return sorted(len(path.read_text()) for path in out.glob("*/starts"))


def _results(out: Path) -> list[tuple[dict, float, str]]:
    runs = json.loads((out / "sweep.json").read_text())["runs"]
    return [(run["parameters"], run["value"], run["state"]) for run in runs]


@pytest.mark.slow
@pytest.mark.parametrize("runs_die_too", [True, False], ids=["with its runs", "alone"])
def test_a_killed_sweep_goes_on(sweep_file: Path, tmp_path: Path, capsys, runs_die_too: bool) -> None:
    out, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = ["sweep", str(sweep_file), "--workers", "1", "--out"]
    words = [sys.executable, "-m", "partnerface", *arguments, str(out)]
    sweep = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: len(_starts(out)) == 2)
        runs = subprocess.run(["ps", "-o", "pid=", "--ppid", str(sweep.pid)], capture_output=True, text=True)
        sweep.kill()
        sweep.wait(PATIENCE)
        if runs_die_too:
            for run in runs.stdout.split():
                os.kill(int(run), signal.SIGKILL)
        else:
            # The run that was left behind holds the folder until it ends.
            assert main([*arguments, str(out)]) == 2
            assert "in use by another command" in capsys.readouterr().err
    finally:
        # Nothing that was started may outlive a test that fails.
        (tmp_path / "open").touch()
        sweep.kill()
        sweep.wait(PATIENCE)
    _wait_for(lambda: main([*arguments, str(out)]) == 0)
    assert "1 of 4 runs have finished before" in capsys.readouterr().err
    assert _starts(out) == [1, 1, 1, 2]
    assert main([*arguments, str(whole)]) == 0
    assert _results(out) == _results(whole)
