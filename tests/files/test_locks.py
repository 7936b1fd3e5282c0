"""Processes take turns, whoever started them."""

import subprocess
import sys
from pathlib import Path

import pytest

from partnerface.files.locks import one_after_another

CODE = """
import sys, time
from pathlib import Path
from partnerface.files.locks import one_after_another
made = Path(sys.argv[1]) / "made"
with one_after_another(made):
    if not made.exists():
        time.sleep(0.3)
        made.mkdir()
        print("made it")
"""

RENDERING = """
import sys
from pathlib import Path
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.synthetic.reader import SyntheticReader
data = HeadVideoDataModule(SyntheticReader(Path(sys.argv[1]), frames=24, size=32), image_size=32)
data.setup("fit")
print(len(data.store))
"""


def _two(code: str, folder: Path) -> tuple[list[str], list[str]]:
    """What two processes print that run the same at the same time."""
    command = [sys.executable, "-c", code, str(folder)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **streams) for _ in range(2)]
    printed, errors = zip(*(process.communicate(timeout=120) for process in processes), strict=True)
    assert [process.returncode for process in processes] == [0, 0], errors
    return sorted(printed), sorted(errors)


@pytest.mark.parametrize("launched", [False, True])
def test_only_the_first_of_two_makes_it(tmp_path: Path, monkeypatch, launched: bool) -> None:
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    if launched:
        monkeypatch.setenv("LOCAL_RANK", "0")
    else:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert _two(CODE, tmp_path)[0] == ["", "made it\n"]


def test_two_runs_that_start_together_render_a_subject_once(tmp_path: Path) -> None:
    printed, errors = _two(RENDERING, tmp_path / "subject")
    assert printed == ["24\n", "24\n"]
    assert sum("Rendering subject" in text for text in errors) == 1
    assert sum("Reusing the rendered frames" in text for text in errors) == 1


@pytest.mark.parametrize("kind", ["none", "file", "/sys"])
def test_without_a_temporary_folder_nobody_is_held_back(tmp_path: Path, monkeypatch, kind: str) -> None:
    def temporary_folder() -> str:
        if kind == "none":
            raise FileNotFoundError("no usable temporary directory")
        return str(tmp_path / kind)  # an absolute kind stays as it is

    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.gettempdir", temporary_folder)
    with one_after_another(tmp_path / "dataset"), one_after_another(tmp_path / "dataset"):
        done = True
    assert done
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_in_the_block_is_passed_on_and_frees_the_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="disk"), one_after_another(tmp_path):
            raise OSError("disk")
