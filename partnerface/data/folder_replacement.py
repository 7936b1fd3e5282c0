"""Write a folder beside its place and rename it when it is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


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
