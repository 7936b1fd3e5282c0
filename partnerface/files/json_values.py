"""JSON files that may come from strangers: of limited size, and always a table of keys."""

from __future__ import annotations

import json
from pathlib import Path

from partnerface.errors import UserError

LARGEST_BYTES = 128_000_000
"""Limit to a file: the cameras of two hours of video take as much."""


def read_json_table(path: Path, advice: str, largest_bytes: int = LARGEST_BYTES) -> dict:
    """The table of a JSON file.

    Args:
        path: the file.
        advice: what the user can do about an unusable file; ends the message.
        largest_bytes: a larger file is refused without reading it.

    Raises:
        UserError: the file is missing, too large, damaged, or holds no table.
    """
    try:
        if (size := path.stat().st_size) > largest_bytes:
            raise ValueError(f"{size / 1e6:,.0f} MB, {largest_bytes / 1e6:,.0f} MB at most")
        record = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise UserError(f"{path}: cannot be read (nested too deeply); {advice}") from error
    except (OSError, ValueError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason}); {advice}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: is not a table of keys; {advice}")
    return record
