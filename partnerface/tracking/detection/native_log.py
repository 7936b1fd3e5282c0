"""Keeps the start-up messages of MediaPipe's native code from the terminal."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

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
