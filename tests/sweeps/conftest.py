"""A program that takes the place of training: it ends at once, fails or waits, as its flags say."""

import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["WANDB_DIR"])
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
with (folder / "starts").open("a") as starts:
    starts.write("x")
try:
    if flags.get("wait") == "True":
        time.sleep(60)
except KeyboardInterrupt:
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "last.ckpt").write_text("half way")
    sys.exit(130)
if flags.get("fail") == "True":
    print("loading")
    sys.exit("ValueError: no such luck")
x, seed = float(flags.get("x", 0)), float(flags.get("seed", 0))
rows = ["step,seconds,name,value", "1,0,val/score,-1000", f"2,0,val/score,{-(x - 4) ** 2 + 0.5 * seed}"]
(folder / "metrics.csv").write_text("\\n".join(rows) + "\\n")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Logs ``val/score = -(x - 4)^2 + seed / 2``; notes every start as a letter in ``starts``."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def command(program: Path) -> list[str]:
    """Words before the flags; without site packages, to start at once."""
    return [sys.executable, "-S", "-E", str(program)]
