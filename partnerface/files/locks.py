"""Processes that start at the same time on one machine fill a shared folder one after another."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock


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
            digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"partnerface-{os.getuid()}-{digest}.lock"
            held.enter_context(FileLock(path))
        yield
