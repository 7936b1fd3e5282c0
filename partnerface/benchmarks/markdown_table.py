"""A table as Markdown: titles on the left, numbers to the right of their columns."""

from __future__ import annotations

from collections.abc import Sequence


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
