"""Files are whole or not there; processes take turns, whoever started them."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.arrays import write_arrays
from partnerface.files.whole_files import (
    NotWritten,
    alone_at,
    continued_folder,
    hidden_folder,
    move_into_place,
    one_after_another,
    remove_abandoned,
    replace_text,
    whole_file,
)


def test_until_the_block_ends_a_reader_sees_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with whole_file(path) as partial:
        partial.write_text("later")
        assert path.read_text() == "earlier"
        assert partial == tmp_path / f".a.txt.{os.getpid()}.partial"
    assert path.read_text() == "later"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_a_block_that_raises_changes_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("earlier")

    def write():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_line_with_file_reason_and_advice(tmp_path):
    with pytest.raises(NotWritten) as caught, whole_file(tmp_path / "missing" / "a", "do this") as partial:
        partial.write_text("x")
    assert (
        str(caught.value) == f"{tmp_path}/missing/a: cannot be written (No such file or directory); do this"
    )
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotWritten, match=r"folder: cannot be written \(Is a directory\)$"):
        replace_text(tmp_path / "folder", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_may_not_grow_keeps_the_earlier_arrays(tmp_path):
    """A quota, met in the middle of a real write."""
    path = tmp_path / "a.npz"
    write_arrays(path, {"a": np.arange(3)})
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(NotWritten, match="File too large"):
            write_arrays(path, {"a": np.random.default_rng(0).random(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert np.load(path)["a"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_foreign_files_move_along_and_ours_are_replaced(tmp_path):
    root, folder = tmp_path / "set", hidden_folder(tmp_path / "set")
    for place, names in ((root, ("ours", "foreign", "both")), (folder, ("new", "both"))):
        place.mkdir()
        for name in names:
            (place / name).write_text(place.name)
    move_into_place(folder, root, {"ours"})
    assert {p.name: p.read_text() for p in root.iterdir()} == {
        "new": folder.name,
        "both": folder.name,
        "foreign": "set",
    }
    assert list(tmp_path.iterdir()) == [root]


def test_only_folders_of_dead_processes_are_removed(tmp_path):
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    kept = [".set.1.partial", f".set.{os.getpid()}.partial", ".set.notes.partial", ".other.7.partial"]
    for name in (*kept, f".set.{process}.partial"):
        (tmp_path / name).mkdir()
    remove_abandoned(tmp_path / "set")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    # Another folder whose name begins alike.
    (tmp_path / f".set.other.{process}.partial.old").mkdir()
    # What a killed writer had moved aside is kept until something is in its place.
    (tmp_path / f".set.{process}.partial.old").mkdir()
    remove_abandoned(tmp_path / "set")
    assert (tmp_path / f".set.{process}.partial.old").is_dir()
    (tmp_path / "set").mkdir()
    remove_abandoned(tmp_path / "set")
    others = f".set.other.{process}.partial.old"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "set", others])


def test_a_folder_of_the_same_key_is_continued_and_others_are_removed(tmp_path):
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    root, own = tmp_path / "set", hidden_folder(tmp_path / "set")
    gone = tmp_path / f".set.{process}.partial"
    # Abandoned by a process that is gone, by one of our own number, of another key, with a link out.
    outside = tmp_path / "outside"
    outside.mkdir()
    for folder, key, leads_out, kept in (
        (gone, "one", False, True),
        (own, "one", False, True),
        (gone, "other", False, False),
        (own, "other", False, False),
        (gone, "one", True, False),
    ):
        folder.mkdir()
        (folder / key).touch()
        (folder / "made").touch()
        if leads_out:
            (folder / "mattes").symlink_to(outside)
        assert continued_folder(root, "one") == own
        assert [path.name for path in tmp_path.iterdir() if path != outside] == [own.name]
        assert {path.name for path in own.iterdir()} == ({"one", "made"} if kept else {"one"})
        shutil.rmtree(own)
    assert outside.is_dir()


CODE = """
import sys, time
from pathlib import Path
from partnerface.files.whole_files import one_after_another
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
    dataset = tmp_path / "dataset"
    with one_after_another(dataset), one_after_another(dataset), alone_at(dataset), alone_at(dataset):
        done = True
    assert done
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_of_two_processes_one_is_alone_at_a_folder(tmp_path: Path) -> None:
    """Also where one went there by a link, and until it has ended or was killed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    code = f"""
from pathlib import Path
from partnerface.files.whole_files import alone_at
with alone_at(Path({str(tmp_path)!r}) / "link" / "out"):
    print("there", flush=True)
    input()
"""
    out = tmp_path / "real" / "out"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "there\n"
        with pytest.raises(UserError, match="out: another command is at work there"), alone_at(out):
            pass
        with alone_at(tmp_path / "real" / "out2"), one_after_another(out):
            other.kill()
    with alone_at(out):
        assert list(tmp_path.glob("*/*")) == []


def test_an_error_in_the_block_is_passed_on_and_frees_the_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="disk"), one_after_another(tmp_path):
            raise OSError("disk")
