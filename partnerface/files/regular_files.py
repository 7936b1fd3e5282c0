"""The size of a file that is about to be read, which may be none."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG


def file_size(path: Path) -> int:
    """Bytes of a file.

    Raises:
        OSError: it is missing, or no regular file: opening a named pipe would wait for ever, and a device
            such as ``/dev/zero`` has no end.
    """
    status = os.stat(path)
    if not S_ISREG(status.st_mode):
        is_folder = S_ISDIR(status.st_mode)
        raise OSError(errno.EINVAL, os.strerror(errno.EISDIR) if is_folder else "is no file")
    return status.st_size
