"""Markdown tables, and generated sections of a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text


def markdown_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Titles and lines of equally many cells; a bar in a cell is escaped.

    >>> print(markdown_table(["what", "dB"], [["ours", "27.1"]]))
    | what | dB |
    | --- | ---: |
    | ours | 27.1 |
    """
    rule = ["---", *("---:" for _ in titles[1:])]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in [titles, rule, *lines])
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


RESULTS, SPEED = "results", "speed"
"""The sections: of the suites ``methods`` and ``speed``."""


def markers(section: str) -> tuple[str, str]:
    """What stands before and behind a section.

    >>> markers("results")
    ('<!-- results -->', '<!-- results end -->')
    """
    return f"<!-- {section} -->", f"<!-- {section} end -->"


def read_section(path: Path, section: str) -> str:
    """What stands between the markers of a file.

    Raises:
        UserError: the file cannot be read, or does not have both markers once and in order.
    """
    return _parts(path, section)[1].strip("\n")


def write_section(path: Path, section: str, content: str) -> None:
    """Put content between the markers of a file and leave the rest as it is.

    Raises:
        UserError: the file cannot be read or written, or has no such markers.
    """
    before, _, after = _parts(path, section)
    start, end = markers(section)
    replace_text(path, f"{before}{start}\n{content}\n{end}{after}")


def _parts(path: Path, section: str) -> tuple[str, str, str]:
    """Before, between and after the markers."""
    start, end = markers(section)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--readme {path}: cannot be read ({error})") from error
    before, _, rest = text.partition(start)
    inside, _, after = rest.partition(end)
    if [text.count(start), text.count(end), rest.count(end)] != [1, 1, 1]:
        raise UserError(f"--readme {path}: needs one line {start} and below it one line {end}")
    return before, inside, after
