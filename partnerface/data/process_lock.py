"""Processes of one run that start at the same time on one machine make a shared folder one after another."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SEVERAL = ("LOCAL_RANK", "SLURM_PROCID")
"""Set where a launcher started this process among others."""


@contextmanager
def one_after_another(folder: Path) -> Iterator[None]:
    """Hold back the other processes of this machine that ask for the same folder.

    The first renders or caches what is missing, the others find it. Nodes that share a disk do not know of
    each other here: make the dataset before.
    """
    if not any(name in os.environ for name in SEVERAL):
        yield
        return
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"partnerface-{os.getuid()}-{digest}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
