"""The time left is that of this process's own pace, whatever was done before."""

import time

from partnerface.runs.progress import shown_progress


def test_lines_where_there_is_no_terminal(monkeypatch, capsys) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with shown_progress("Rendering", 100, 40) as advance:
        for _ in range(60):
            now[0] += 2
            advance()
    assert capsys.readouterr().err.splitlines() == [
        "Rendering: 40 of 100 are there already",
        "Rendering: 55/100 · 0:01:30 left",
        "Rendering: 70/100 · 0:01:00 left",
        "Rendering: 85/100 · 0:00:30 left",
        "Rendering: 100/100 · 0:00:00 left",
    ]


def test_short_work_says_nothing(capsys) -> None:
    with shown_progress("Rendering", 3) as advance:
        for _ in range(3):
            advance()
    assert capsys.readouterr().err == ""
