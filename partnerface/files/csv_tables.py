"""CSV files that may come from strangers: rows of text of limited size."""

from __future__ import annotations

import csv
from pathlib import Path

from partnerface.errors import UserError
from partnerface.files.regular_files import file_size

LARGEST_CSV = 64_000_000
"""Bytes: half an hour of 63 columns at 60 rows per second. In memory it takes some ten times as much."""


def read_csv(path: Path, cut_off: bool = False) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file with commas, semicolons or tabs between; empty rows are left out.

    Args:
        path: the file.
        cut_off: the last row may be shorter than the header, as where a recorder was stopped while it wrote.

    Raises:
        UserError: the file is missing, too large, or not CSV, or a row is not as long as the header.
    """
    try:
        if (size := file_size(path)) > LARGEST_CSV:
            raise UserError(f"{path}: {size / 1e6:,.0f} MB; CSV of at most {LARGEST_CSV / 1e6:g} MB is read")
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(text.splitlines(), delimiter=separator) if any(map(str.strip, row))]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not CSV ({error})") from error
    if not rows:
        raise UserError(f"{path}: empty; expected a header and rows of values")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], 1):
        cut = cut_off and number == len(rows) - 1 and len(row) < len(header)
        if len(row) != len(header) and not cut:
            raise UserError(f"{path}: row {number} has {len(row)} values, the header has {len(header)}")
    return header, rows[1:]
