"""The folder of a sweep: held by one sweep at a time, and by one command."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partnerface.errors import UserError
from partnerface.sweeps.sweep_file import Sweep
from partnerface.sweeps.sweep_report import JSON_FILE, template

LOCK_FILE = ".lock"


def check_folder(out: Path, sweep: Sweep) -> None:
    """Make sure that what lies in a folder was made by the same command.

    Raises:
        UserError: it holds something else.
    """
    path = out / JSON_FILE
    if not path.is_file():
        if out.is_dir() and any(entry.name != LOCK_FILE for entry in out.iterdir()):
            raise UserError(f"--out {out}: holds other files; choose another folder")
        return
    try:
        recorded = json.loads(path.read_text())
        differs = any(recorded.get(key) != value for key, value in template(sweep).items())
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: not readable ({error}); remove the folder or choose another --out"
        ) from error
    if differs:
        raise UserError(f"--out {out}: holds runs of another command; choose another folder")


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Hold a folder; yields the descriptor, which children inherit so that those left behind hold it too.

    Raises:
        UserError: another sweep, or a run that one has left behind, is at work in it.
    """
    descriptor = os.open(out / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"--out {out}: a sweep is at work in it; wait for it or choose another"
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
