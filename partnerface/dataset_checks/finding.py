"""Finding: what one check says about a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["ok", "doubt", "unfit"]


@dataclass(frozen=True)
class Finding:
    """One statement about a dataset.

    Attributes:
        topic: what was looked at.
        severity: ``unfit`` forbids training, ``doubt`` costs quality, ``ok`` is for the record.
        text: the statement with its numbers, in words.
        values: the numbers, for ``check.json``.
    """

    topic: str
    severity: Severity
    text: str
    values: dict[str, float] = field(default_factory=dict)


def graded(topic: str, problems: list[tuple[Severity, str]], fine: str, values: dict) -> list[Finding]:
    """A finding for each problem, or one that says that all is well.

    Args:
        topic: what was looked at.
        problems: severity and statement of each.
        fine: the statement where there are none.
        values: the numbers, carried by the first finding.
    """
    found = problems or [("ok", fine)]
    return [Finding(topic, *problem, values if k == 0 else {}) for k, problem in enumerate(found)]
