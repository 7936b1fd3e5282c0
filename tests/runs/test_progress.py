"""The time left is that of this process's own pace, whatever was done before."""

import time

from partnerface.runs.progress import StageProgress, shown_progress


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


def test_a_terminal_that_draws_nothing_gets_lines_too(monkeypatch, capsys) -> None:
    """Such as the shell of an editor; a bar would be drawn nowhere."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shown_progress("Rendering", 20) as advance:
        for _ in range(20):
            now[0] += 2
            advance()
    assert capsys.readouterr().err == "Rendering: 15/20 · 0:00:10 left\n"


def test_short_work_says_nothing(capsys) -> None:
    with shown_progress("Rendering", 3) as advance:
        for _ in range(3):
            advance()
    assert capsys.readouterr().err == ""


def test_a_line_names_the_stage_its_share_and_the_time_left(capsys) -> None:
    now = [0.0]
    bars = StageProgress("tracking", seconds_between_lines=3600, get_time=lambda: now[0])
    with bars:
        assert bars.line() == "tracking: begun"
        landmarks = bars.add_task("landmarks", total=200)
        now[0] = 30
        assert bars.line() == "tracking: landmarks 0% of this stage"
        bars.advance(landmarks, 50)
        assert bars.line() == "tracking: landmarks 25% · about 0:01:30 left of this stage"
        bars.add_task("completion", total=None)
        now[0] = 75
        assert bars.line() == "tracking: completion, for 0:00:45 now"
        frames = bars.add_task("landmarks", total=None)
        bars.advance(frames, 70)
        assert bars.line() == "tracking: landmarks, 70 done, for 0:00:00 now"
    assert capsys.readouterr().err == ""


def test_the_time_left_beside_a_bar_is_said_to_be_of_one_stage(monkeypatch, capsys) -> None:
    """Whole, in a terminal of 80 columns."""
    for name, value in {"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    now = [0.0]
    with StageProgress("tracking", get_time=lambda: now[0]) as bars:
        mattes = bars.add_task("refine mattes", total=2000)
        for _ in range(1000):
            now[0] += 0.5
            bars.advance(mattes)
    last = capsys.readouterr().err.rpartition("refine mattes")[2]
    assert "1000/2000 0:08:20 left of this stage" in last


def test_lines_come_by_the_clock_while_nothing_advances(capsys) -> None:
    printed = ""
    with StageProgress("tracking", seconds_between_lines=0.001) as bars:
        bars.add_task("align", total=6)
        while printed.count("align 0% of this stage\n") < 2:
            time.sleep(0.001)
            printed += capsys.readouterr().err
    capsys.readouterr()
    time.sleep(0.01)
    assert capsys.readouterr().err == ""
