"""Settings of a whole process: made in commands and their children only.

A program that imports the package keeps its own allocator and file descriptors.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_ONE_GIGABYTE = 1 << 30
_GROWTH = 64 << 20


_COMMAND = "PARTNERFACE_COMMAND"


def mark_command() -> None:
    """Record in the environment, for child processes too, that this process runs one of the commands."""
    os.environ[_COMMAND] = "1"


def runs_command() -> bool:
    """True in a process that runs a command of this package, and in the processes that it starts."""
    return _COMMAND in os.environ


def keep_freed_memory() -> bool:
    """In a command, ask glibc's allocator not to return large freed blocks to the system.

    In threads other than the first it returns a freed tensor's pages at once and has them zeroed again
    for the next tensor: a tenth of the time of rendering on a CPU.

    Returns:
        True if the allocator is set so; False outside of commands and with other C libraries.
    """
    return runs_command() and _set_allocator()


@cache
def _set_allocator() -> bool:
    """Call mallopt(3), once a process."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_THRESHOLD, _ONE_GIGABYTE), (_TRIM_THRESHOLD, _ONE_GIGABYTE), (_TOP_PAD, _GROWTH))
    return all(mallopt(name, value) == 1 for name, value in settings)
