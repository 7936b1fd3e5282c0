"""A program that takes the place of training: it ends at once, fails or waits, as its flags say."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from partnerface.runs.run import Run

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


@dataclass(frozen=True)
class ProgramRun(Run):
    """A run of the program, or of any other words."""

    folder: Path
    parameters: dict
    words: tuple[str, ...] = ()
    metric: str = "val/score"
    expected_seconds: float | None = None
    after: Run | None = None

    @property
    def title(self) -> str:
        return self.folder.name

    @property
    def remaining_command(self) -> list[str]:
        return list(self.words)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., ProgramRun]:
    """Makes a run in a folder of that name of a program that logs ``val/score = -(x - 4)^2 + seed / 2``.

    The program notes every start as a letter in ``starts`` and runs without site packages, to start at once.
    """
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def make(name: str, *words: str, **parameters: object) -> ProgramRun:
        flags = (f"--{key}={value}" for key, value in parameters.items())
        command = words or (sys.executable, "-S", "-E", str(program), *flags)
        return ProgramRun(tmp_path / name, parameters, command)

    return make


@pytest.fixture
def lock(tmp_path: Path):
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)
