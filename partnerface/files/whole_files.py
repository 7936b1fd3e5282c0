"""Write text files and folders so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from partnerface.errors import UserError


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def hidden_folder(root: Path) -> Path:
    """Where this process writes what shall become ``root``."""
    return root.with_name(f".{root.name}.{os.getpid()}.partial")


def remove_abandoned(root: Path) -> None:
    """Remove hidden folders of writers that were killed."""
    for folder in root.parent.glob(f".{root.name}.*.partial"):
        process = folder.name.split(".")[-2]
        if process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def move_into_place(folder: Path, root: Path, replaced_names: set[str]) -> None:
    """Put ``folder`` where ``root`` is.

    Args:
        folder: the new folder, beside ``root``.
        root: its place; what is there is replaced.
        replaced_names: entries of the old ``root`` that go; all others move into the new one.
    """
    if not root.exists():
        folder.rename(root)
        return
    replaced = root.with_name(f"{folder.name}.old")
    root.rename(replaced)
    folder.rename(root)
    for entry in replaced.iterdir():
        if entry.name not in replaced_names and not (root / entry.name).exists():
            entry.rename(root / entry.name)
    shutil.rmtree(replaced)
