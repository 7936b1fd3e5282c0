import os
import resource
import signal

import numpy as np
import pytest

from partnerface.files.arrays import write_arrays
from partnerface.files.whole_files import (
    NotWritten,
    hidden_folder,
    move_into_place,
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
