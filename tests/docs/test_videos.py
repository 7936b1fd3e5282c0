"""docs/videos.md: the lines that it quotes are the program's, its limits those of the code."""

import ast
import functools
import re
from pathlib import Path

import pytest

from partnerface.dataset_checks.picture_checks import DARK, NEARLY_BLACK
from partnerface.dataset_checks.sequence_checks import SHOWN_BY_SECONDS
from partnerface.files.video_reading.colours import HD_LINES, HD_WIDTH
from partnerface.files.video_reading.decoding import MOST_LOST_SHARE
from partnerface.files.video_reading.source import DEFAULT_PICTURE_FPS, MAX_FRAMES, MIN_TRACKED_FRAMES
from partnerface.tracking.detection.mattes import CROP_FACE_HEIGHTS
from partnerface.tracking.detection.trusted_frames import FAR_ASIDE_DEGREES

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "videos.md").read_text().split())
LAST_CELLS = re.findall(r"\|([^|]*)\|$", (ROOT / "docs" / "videos.md").read_text(), re.M)
QUOTED = [line for cell in LAST_CELLS for line in re.findall(r"`([^`]+)`", cell)]
FILLED_IN = re.compile(r"\S*|\w+ or \w+|[\d.,:%x s-]+")
"""What stands in place of a value: one word, two to choose from, or numbers."""


@functools.cache
def _templates() -> list[re.Pattern[str]]:
    """The package's texts of some length, with a group for each value that they hold."""
    found = set()
    for room in ("cli", "dataset_checks", "files", "tracking", "data/formats"):
        for path in (ROOT / "partnerface" / room).rglob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                texts = [part.value for part in parts if isinstance(part, ast.Constant)]
                if all(isinstance(text, str) for text in texts) and len("".join(texts)) > 8:
                    pattern = "".join(
                        re.escape(part.value) if isinstance(part, ast.Constant) else "(.*?)" for part in parts
                    )
                    found.add(pattern)
    return [re.compile(pattern) for pattern in found]


def _is_of_the_program(line: str) -> bool:
    """True if a text of the package gives the line, once its values are filled in."""
    matches = [found for template in _templates() if (found := template.fullmatch(line))]
    return any(
        all(
            FILLED_IN.fullmatch(value) or (value != line and _is_of_the_program(value))
            for value in found.groups()
        )
        for found in matches
    )


@pytest.mark.parametrize("line", QUOTED)
def test_quoted_lines_are_the_programs(line):
    assert _is_of_the_program(line)


def test_other_words_are_not_the_programs():
    assert len(QUOTED) > 30
    changed = [line.replace(" the ", " that ").replace(" of ", " from ") for line in QUOTED]
    changed = [other for other, line in zip(changed, QUOTED, strict=True) if other != line]
    assert len(changed) > 20
    assert [line for line in changed if _is_of_the_program(line)] == []


def test_limits_are_those_of_the_code():
    assert MOST_LOST_SHARE == 0.1
    for words in (
        f"of {CROP_FACE_HEIGHTS:g} face heights",
        f"beyond {FAR_ASIDE_DEGREES:.0f} degrees the tracker becomes unreliable",
        f"more than {MAX_FRAMES} frames",
        f"in {SHOWN_BY_SECONDS[-1][0]} s, and",
        f"below {NEARLY_BLACK:.0f}",
        f"fewer than {MIN_TRACKED_FRAMES} frames",
        f"from {HD_LINES} lines or {HD_WIDTH} columns on",
        f"read as {DEFAULT_PICTURE_FPS:.0f} frames per second",
    ):
        assert words in PAGE
    darkness = re.search(r"`dark: the face has a brightness of (\d+) of 255", PAGE)
    assert NEARLY_BLACK < int(darkness[1]) < DARK
