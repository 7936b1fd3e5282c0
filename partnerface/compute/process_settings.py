"""Settings of a whole process, made in commands and their children only, and the filter of its stderr.

A program that imports the package keeps its own allocator and file descriptors.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_ONE_GIGABYTE = 1 << 30
_GROWTH = 64 << 20
_COMMAND = "PARTNERFACE_COMMAND"
_COLLECT_EVERY = 10_000
"""New objects between two looks for garbage; Python's own number is 700."""


def mark_command() -> None:
    """Record in the environment, for child processes too, that this process runs one of the commands.

    Python looks for garbage less often: it would hundreds of times while torch and Lightning are imported,
    for an eighth of the time of a start.
    """
    os.environ[_COMMAND] = "1"
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])


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


CHATTER = re.compile(rb"[IW]\d{4} |(INFO: Created TensorFlow|WARNING: (All log messages|Logging before))")
"""Lines of glog's levels info and warning, and TensorFlow Lite's and absl's notices about themselves."""


@contextmanager
def without_native_chatter() -> Iterator[None]:
    """Hold back what native code writes to file descriptor 2; at the end, pass on all but `CHATTER`.

    No environment variable silences it. Meanwhile Python's own ``sys.stderr`` still writes to the terminal,
    so that progress bars move.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    python_stderr = sys.stderr
    with tempfile.TemporaryFile() as held, open(terminal, "w", closefd=True) as direct:
        os.dup2(held.fileno(), 2)
        if _writes_to_descriptor(python_stderr):
            sys.stderr = direct
        try:
            yield
        finally:
            sys.stderr = python_stderr
            direct.flush()
            os.dup2(terminal, 2)
            held.seek(0)
            for line in held:
                if not CHATTER.match(line):
                    os.write(2, line)


def _writes_to_descriptor(stream: object) -> bool:
    """Whether a stream ends at file descriptor 2, also through the wrapper of a progress bar."""
    stream = getattr(stream, "rich_proxied_file", stream)
    try:
        return stream.fileno() == 2
    except (OSError, ValueError, AttributeError):
        return False
