"""Write files and folders so that a reader never sees half of one, one process after another."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from partnerface.errors import UserError

OLD = ".old"
"""Ends the name of a folder while another takes its place."""


class NotWritten(UserError):
    """A file cannot be written: a full or protected disk, a missing folder."""


@contextmanager
def whole_file(path: Path, advice: str = "", synced: bool = False) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a hidden path in the same folder, ``.name.PID.partial``, to be written inside the block. It is
    renamed to ``path`` when the block ends, or removed when it raises; what ``path`` held before is kept
    until then.

    Args:
        path: the file.
        advice: what to do where it cannot be written; ends the message.
        synced: wait until the file and its new name are on the disk and survive a power failure.

    Raises:
        NotWritten: the block or the renaming raised an OSError.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        if synced:
            _sync(partial)
        os.replace(partial, path)
    except OSError as error:
        ending = f"; {advice}" if advice else ""
        raise NotWritten(f"{path}: cannot be written ({error.strerror or error}){ending}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    if synced:
        with suppress(OSError):  # not every file system syncs folders
            _sync(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        NotWritten: it cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_text(text)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hidden_folder(root: Path) -> Path:
    """The folder beside ``root`` that this process fills and then moves there, see `move_into_place`."""
    return root.with_name(f".{root.name}.{os.getpid()}.partial")


def remove_abandoned(root: Path) -> None:
    """Remove the `hidden_folder` of every writer of ``root`` whose process no longer runs."""
    for folder in _abandoned(root):
        # What was replaced is gone only where something took its place.
        if not folder.name.endswith(OLD) or root.exists():
            shutil.rmtree(folder, ignore_errors=True)


def continued_folder(root: Path, key: str) -> Path:
    """The `hidden_folder` of ``root``, with what a process of the same ``key`` had written when it was ended.

    An empty file of the name ``key`` marks it. All others whose process no longer runs are removed.

    Raises:
        OSError: it cannot be made.
    """
    folder = hidden_folder(root)
    # One of our own number is of an earlier process: in a container the first always has the same.
    if not _is_marked(folder, key):
        shutil.rmtree(folder, ignore_errors=True)
        for abandoned in _abandoned(root):
            if _is_marked(abandoned, key):
                with suppress(OSError):  # another process may be faster
                    abandoned.rename(folder)
                    break
        else:
            folder.mkdir()
            (folder / key).touch()
    remove_abandoned(root)
    return folder


def _is_marked(folder: Path, key: str) -> bool:
    """True if ``folder`` is of ``key`` and holds no link, through which files elsewhere would be written."""
    return (folder / key).is_file() and not any(path.is_symlink() for path in (folder, *folder.rglob("*")))


def _abandoned(root: Path) -> list[Path]:
    """Hidden folders of ``root`` whose process no longer runs, and what one had moved aside."""
    prefix = f".{root.name}."
    found = []
    for folder in root.parent.glob(f"{prefix}*.partial*"):
        # Nothing else between: the names of other folders may begin with this one's.
        process = folder.name.removeprefix(prefix).removesuffix(OLD).removesuffix(".partial")
        if process.isdecimal() and not _is_alive(int(process)):
            found.append(folder)
    return found


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


def replaceable(folder: Path) -> Path:
    """The folder that a path leads to, through links, which may be on another disk; `move_into_place` can put
    another in its place.

    Raises:
        UserError: it cannot, for it is a mount point or holds the working folder.
    """
    real, here = Path(os.path.realpath(folder)), Path.cwd()
    if os.path.ismount(real):
        fixed = "a mount point"
    elif real in (here, *here.parents):
        fixed = "where you are"
    else:
        return real
    raise UserError(f"{folder}: is {fixed}; another folder takes its place, so choose one inside")


def move_into_place(folder: Path, root: Path, replaced_names: set[str]) -> None:
    """Rename ``folder`` to its neighbour ``root``, in place of a folder that may be there.

    Entries of the old ``root`` in ``replaced_names`` are removed; all others move into the new one.
    """
    if not root.exists():
        folder.rename(root)
        return
    replaced = root.with_name(folder.name + OLD)
    root.rename(replaced)
    folder.rename(root)
    for entry in replaced.iterdir():
        if entry.name not in replaced_names and not (root / entry.name).exists():
            entry.rename(root / entry.name)
    shutil.rmtree(replaced)


@contextmanager
def one_after_another(folder: Path) -> Iterator[None]:
    """Run the block while no other process of this machine and user runs one for the same folder.

    The first process renders or caches what is missing and the others, which waited, find it: ranks of one
    run, workers of a sweep. Processes on other nodes are not held back, since the lock is a file in the
    system's temporary folder: make a dataset that nodes share before they start. Where no lock file can be
    made, the block runs at once.
    """
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):  # the latter from file systems without locks
            held.enter_context(FileLock(_lock_file(folder)))
        yield


@contextmanager
def alone_at(folder: Path) -> Iterator[None]:
    """Run the block unless another process of this machine and user runs one for the same folder.

    It goes together with `one_after_another`, whose lock is another one; where no lock file can be made, the
    block runs.

    Raises:
        UserError: another process does.
    """
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(_lock_file(folder, "alone"), timeout=0))
        except Timeout as error:
            message = "another command is at work there; wait until it has ended or choose another folder"
            raise UserError(f"{folder}: {message}") from error
        except (OSError, NotImplementedError):
            pass
        yield


def _lock_file(folder: Path, purpose: str = "") -> Path:
    """A folder that is replaced as a whole cannot hold its lock itself."""
    digest = hashlib.sha256(f"{purpose}{folder.resolve()}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"partnerface-{os.getuid()}-{digest}.lock"


def refuse_overwriting(out: Path, *read: Path | str | None) -> None:
    """Refuse an output that is one of the files that are read.

    Raises:
        UserError: it is.
    """
    for path in read:
        if path is not None and out.is_file() and Path(path).exists() and out.samefile(path):
            raise UserError(f"--out {out}: is read as well; choose another name")


def refuse_file(folder: Path) -> None:
    """Refuse a file where an output folder is to be.

    Raises:
        UserError: it is one.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; choose a folder")


def require_writable(folder: Path) -> None:
    """Make an output folder and check that files can be written into it.

    Raises:
        UserError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file without a name: a kill leaves nothing behind, and nodes that share a disk do not collide.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"output folder {folder}: cannot be written ({error.strerror}); choose another"
        ) from error
