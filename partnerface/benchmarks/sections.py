"""Generated sections of a Markdown file, between two comments that mark them."""

from __future__ import annotations

from pathlib import Path

from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text

METHODS_SECTION, SPEED_SECTION, GPU_SECTION = "results", "speed", "gpu"
"""Names of the sections of ``benchmark methods``, ``benchmark speed`` and ``benchmark gpu``."""


def markers(section: str) -> tuple[str, str]:
    """The lines before and after a section.

    >>> markers("results")
    ('<!-- results -->', '<!-- results end -->')
    """
    return f"<!-- {section} -->", f"<!-- {section} end -->"


def read_section(path: Path, section: str) -> str:
    """The text between the markers of a file.

    Raises:
        UserError: the file is unreadable, or does not have both markers once and in order.
    """
    return _parts(path, section)[1].strip("\n")


def write_section(path: Path, section: str, content: str) -> None:
    """Replace the text between the markers of a file and keep the rest.

    Raises:
        UserError: the file is unreadable or protected, or does not have both markers once and in order.
    """
    before, _, after = _parts(path, section)
    start, end = markers(section)
    replace_text(path, f"{before}{start}\n{content}\n{end}{after}")


def _parts(path: Path, section: str) -> tuple[str, str, str]:
    """Text before, between and after the markers."""
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
