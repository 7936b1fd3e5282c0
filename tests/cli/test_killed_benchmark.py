"""`benchmark methods`, killed (SIGKILL) with its runs, ends with what the command of its rows makes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

METHOD = "part_deformation"
WORDS = ["benchmark", "methods", "--methods", METHOD, "--subjects", "synthetic_a", "--seeds", "3"]
WORDS += ["--workers", "1", "--quick", "true", "--starts", "converged", "--statics", "0.5"]
PATIENCE = 300.0


def _start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    # An address that leads nowhere keeps it from fetching the weights of LPIPS.
    closed = {"https_proxy": "http://127.0.0.1:9", "PARTNERFACE_ASSETS": str(folder / "assets")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **closed, "PATH": path},
        )


def _start_benchmark(folder: Path) -> subprocess.Popen[bytes]:
    return _start(folder, sys.executable, "-m", "partnerface", *WORDS)


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(int(word) for word in line.split()) for line in listed.stdout.splitlines()]
    found = [root]
    for parent in found:
        found += [pid for pid, ppid in pairs if ppid == parent]
    return found


def _kill_when(folder: Path, condition: Callable[[], bool]) -> None:
    process, end = _start_benchmark(folder), time.monotonic() + PATIENCE
    try:
        while not condition():
            assert process.poll() is None, "it ended before the moment came"
            assert time.monotonic() < end, "the moment did not come"
            time.sleep(0.005)
    finally:
        for pid in _tree(process.pid):
            # A short-lived one may have ended since it was listed.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(PATIENCE)


def _finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.wait(PATIENCE) == 0, (folder / "log.txt").read_text()[-3000:]


@pytest.mark.slow
def test_a_killed_benchmark_continues_and_the_command_of_a_row_repeats_it(tmp_path: Path) -> None:
    killed, repeated = tmp_path / "killed", tmp_path / "repeated"
    for folder in (killed, repeated):
        folder.mkdir()
    out = killed / "runs/methods"

    def left_by(run: str, file: str) -> Callable[[], bool]:
        return lambda: any(out.glob(f"runs/synthetic_a-{run}/{file}"))

    moments = {
        "dataset": lambda: any(out.glob("datasets/.*.partial")),
        "before the statics are trained": left_by("skinning_only-*", "config.yaml"),
        "last step of the method saved": left_by(f"{METHOD}-*", "checkpoints/last.ckpt"),
    }
    for condition in moments.values():
        _kill_when(killed, condition)
    [statics] = out.glob("runs/synthetic_a-skinning_only-*/checkpoints/last.ckpt")
    finished = statics.stat().st_mtime_ns
    _finish(_start_benchmark(killed), killed)
    assert statics.stat().st_mtime_ns == finished, "a run that had finished was repeated"

    rows = json.loads((out / "results.json").read_text())
    splits = [name + sample for name in ("temporal", "unseen_expression") for sample in ("", "_sample")]
    assert {row["split"] for row in rows} == {*splits, "train"}
    assert [(row["steps"], row["statics_budget"]) for row in rows] == [(20, {"steps": 10})] * len(rows)

    _finish(_start(repeated, "sh", "-c", rows[0]["command"]), repeated)
    metrics = repeated / "runs/methods/runs" / rows[0]["run"] / "metrics.json"
    for name, scores in json.loads(metrics.read_text())["splits"].items():
        [row] = (row for row in rows if row["split"] == name)
        assert row["metrics"]["head_mask"]["psnr"] == pytest.approx(scores["head_mask"]["psnr"], abs=1e-4)
