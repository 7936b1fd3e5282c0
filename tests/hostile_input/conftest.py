"""The bench on which every bad input is tried: the real command, and a watch on all that it may not do."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from partnerface.cli.main import main

STARTED: list[str] = []
"""Programs started since the list was cleared."""

_STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn", "subprocess.Popen"}


_ASKS_FOR_PATHS = "import sys, json; print(json.dumps(sys.path))"
"""What typeshed_client runs, in this interpreter, to find the signature of a builtin for jsonargparse."""


def _watch(event: str, arguments: tuple) -> None:
    if event in _STARTS and _ASKS_FOR_PATHS not in str(arguments):
        STARTED.append(f"{event}{arguments[:2]}")


sys.addaudithook(_watch)


@dataclass
class Bench:
    """A folder with a dataset copy, an output folder and a canary that hostile code would touch.

    Attributes:
        folder: everything of one case; ``out`` alone may change.
        root: a dataset's copy, to be spoiled.
        out: output folder of the command.
        outside: a folder that no dataset may reach.
        canary: a file that appears when something of the input is run.
    """

    folder: Path
    capsys: pytest.CaptureFixture

    def __post_init__(self) -> None:
        self.root, self.out = self.folder / "set", self.folder / "out"
        self.outside, self.canary = self.folder / "outside", self.folder / "canary"
        self.outside.mkdir()

    def _state(self) -> dict[Path, tuple[int, int]]:
        paths = (p for p in self.folder.rglob("*") if self.out not in (p, *p.parents))
        return {p: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths if not p.is_dir()}

    def refuses(self, arguments: list[str], *words: str) -> str:
        """Run a command and make sure that it refuses its input as it should; returns the line."""
        self.capsys.readouterr()
        before = self._state()
        STARTED.clear()
        code = main(arguments)
        started, errors = list(STARTED), self.capsys.readouterr().err
        assert code == 2, f"exit code {code}, {errors}"
        lines = [line for line in errors.splitlines() if line.startswith("partnerface: ")]
        assert len(lines) == 1, errors
        assert "Traceback" not in errors
        assert len(lines[0]) < 700
        assert lines[0].isprintable()
        for word in words:
            assert word in lines[0], lines[0]
        assert not self.canary.exists(), "code of the input was run"
        assert started == []
        assert self._state() == before, "files outside the output folder were touched"
        return lines[0]


@pytest.fixture
def bench(tmp_path: Path, capsys, monkeypatch) -> Iterator[Bench]:
    """A bench whose folder is the working directory too, so that stray files are seen."""
    # Lightning asks for it once, and Python runs uname for the answer.
    platform.processor()
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, capsys)


@pytest.fixture
def dataset_bench(bench: Bench, synthetic_dataset: Path) -> Bench:
    shutil.copytree(synthetic_dataset, bench.root)
    return bench


@pytest.fixture
def refused_dataset(dataset_bench: Bench) -> Callable[..., str]:
    """Spoils the dataset and makes sure that ``partnerface check`` refuses it."""

    def refused(spoil: Callable[[Bench], None], *words: str) -> str:
        spoil(dataset_bench)
        arguments = ["check", str(dataset_bench.root), "--out", str(dataset_bench.out)]
        return dataset_bench.refuses(arguments, *words)

    return refused
