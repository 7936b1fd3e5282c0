"""`benchmark methods`, killed (SIGKILL) with its runs, ends with the rows of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

WORDS = ["benchmark", "methods", "--methods", "skinning_only,part_deformation", "--subjects", "synthetic_a"]
WORDS += ["--seeds", "0", "--workers", "1", "--quick", "true", "--starts", "converged", "--out"]
PATIENCE = 300.0


def _start(out: Path) -> subprocess.Popen[bytes]:
    # An address that leads nowhere keeps it from fetching the weights of LPIPS.
    closed = {"https_proxy": "http://127.0.0.1:9", "PARTNERFACE_ASSETS": str(out.parent / "assets")}
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "partnerface", *WORDS, str(out)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **closed},
        )


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(int(word) for word in line.split()) for line in listed.stdout.splitlines()]
    found = [root]
    for parent in found:
        found += [pid for pid, ppid in pairs if ppid == parent]
    return found


def _kill_when(out: Path, condition: Callable[[], bool]) -> None:
    process, end = _start(out), time.monotonic() + PATIENCE
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


def _measured(out: Path) -> list[tuple[Any, ...]]:
    names = ("method", "split", "steps", "frames", "metrics", "nearest_frame")
    return [tuple(row[name] for name in names) for row in json.loads((out / "results.json").read_text())]


@pytest.mark.slow
def test_a_killed_benchmark_goes_on(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def left_by(method: str, file: str) -> Callable[[], bool]:
        return lambda: any(killed.glob(f"runs/synthetic_a-{method}-*/{file}"))

    moments = {
        "dataset": lambda: any(killed.glob("datasets/.*.partial")),
        "before training": left_by("skinning_only", "config.yaml"),
        "last step saved": left_by("skinning_only", "checkpoints/last.ckpt"),
        "test": left_by("skinning_only", "comparison.mp4"),
        "second run": left_by("part_deformation", "checkpoints/last.ckpt"),
    }
    for condition in moments.values():
        _kill_when(killed, condition)
    finished = next(killed.glob("runs/synthetic_a-skinning_only-*/metrics.json")).stat().st_mtime_ns
    for out in (killed, whole):
        assert _start(out).wait(PATIENCE) == 0, out.with_suffix(".log").read_text()[-3000:]
    assert _measured(killed) == _measured(whole)
    assert len(_measured(whole)) == 10
    again = next(killed.glob("runs/synthetic_a-skinning_only-*/metrics.json")).stat().st_mtime_ns
    assert again == finished, "a run that had finished was repeated"
