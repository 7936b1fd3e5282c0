"""`demo` (and so `create`, whose training is the same) goes on where it was killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
def test_a_demo_that_is_killed_in_every_stage_ends_like_one_that_was_not(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("killed_demo.py")), str(tmp_path)]
    # An address that leads nowhere keeps it from fetching the weights of LPIPS.
    closed = {"https_proxy": "http://127.0.0.1:9", "PARTNERFACE_ASSETS": str(tmp_path / "assets")}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, **closed})
    logs = "".join(path.read_text()[-3000:] for path in tmp_path.glob("*.log"))
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:] + logs
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for name in ("comparison.mp4", "strip.png", "animation.mp4", "config.yaml"):
        assert (killed / name).is_file(), name
    scores = [json.loads((run / "metrics.json").read_text())["splits"] for run in (killed, whole)]
    assert scores[0] == scores[1]
    weights = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (killed, whole)
    ]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    left = {path.name for path in killed.iterdir()} - {path.name for path in whole.iterdir()}
    # A kill within the write of a picture may leave that.
    assert all(".partial" in name for name in left)
