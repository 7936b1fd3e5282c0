"""The section of a README that is generated: what stands between two markers."""

from __future__ import annotations

from pathlib import Path

from partnerface.text_files import replace_text
from partnerface.user_error import UserError

START, END = "<!-- results -->", "<!-- results end -->"


def read_section(path: Path) -> str:
    """What stands between the markers of a file.

    Raises:
        UserError: the file cannot be read, or does not have both markers once and in order.
    """
    return _parts(path)[1].strip("\n")


def write_section(path: Path, content: str) -> None:
    """Put content between the markers of a file and leave the rest as it is.

    Raises:
        UserError: the file cannot be read or written, or has no such markers.
    """
    before, _, after = _parts(path)
    replace_text(path, f"{before}{START}\n{content}\n{END}{after}")


def _parts(path: Path) -> tuple[str, str, str]:
    """Before, between and after the markers."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--readme {path}: cannot be read ({error})") from error
    before, _, rest = text.partition(START)
    inside, _, after = rest.partition(END)
    if [text.count(START), text.count(END), rest.count(END)] != [1, 1, 1]:
        raise UserError(f"--readme {path}: needs one line {START} and below it one line {END}")
    return before, inside, after
