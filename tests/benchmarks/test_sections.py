from pathlib import Path

import pytest

from partnerface.benchmarks.sections import (
    METHODS_SECTION,
    SPEED_SECTION,
    markers,
    read_section,
    write_section,
)
from partnerface.errors import UserError

START, END = markers(METHODS_SECTION)


def test_round_trip_leaves_the_rest_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    write_section(path, METHODS_SECTION, "| a |\n\nb")
    assert read_section(path, METHODS_SECTION) == "| a |\n\nb"
    first = path.read_text()
    assert first == f"before\n{START}\n| a |\n\nb\n{END}\nafter\n"
    write_section(path, METHODS_SECTION, read_section(path, METHODS_SECTION))
    assert path.read_text() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    "text",
    ["", START, f"{START} {START} {END}", f"{END} {START}", f"{END} {START} {END}", f"{START} {END} {END}"],
)
def test_markers_that_say_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UserError, match=r"--readme .*needs one line"):
        write_section(path, METHODS_SECTION, "new")
    assert path.read_text() == text


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--readme .*cannot be read"):
        read_section(tmp_path / "none.md", METHODS_SECTION)


def test_two_sections_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("\n".join([*markers(SPEED_SECTION), "between", *markers(METHODS_SECTION)]))
    write_section(path, SPEED_SECTION, "fast")
    write_section(path, METHODS_SECTION, "good")
    assert read_section(path, SPEED_SECTION) == "fast"
    assert read_section(path, METHODS_SECTION) == "good"
