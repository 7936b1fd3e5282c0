"""Processes that start at the same time on one machine make a shared folder one after another."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def one_after_another(folder: Path) -> Iterator[None]:
    """Hold back the other processes of this machine that ask for the same folder.

    The first renders or caches what is missing, the others find it: ranks of one run, the workers of a
    sweep, two agents. Nodes that share a disk do not know of each other here: make the dataset before. Where
    the system's temporary folder takes no file, nobody is held back.
    """
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"partnerface-{os.getuid()}-{digest}.lock"
    with ExitStack() as held:
        with suppress(OSError):
            lock = held.enter_context(path.open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
