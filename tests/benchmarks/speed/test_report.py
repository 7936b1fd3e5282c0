"""The file is whole at any time, keeps what took hours, and never replaces something else."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from partnerface.benchmarks.speed.report import SpeedReport, rows_table, shown, stages_table
from partnerface.benchmarks.speed.result_row import Target, measured_row, missing_row
from partnerface.errors import UserError

ROWS = [
    measured_row("rate", [1.0, 3.0, 2.0], "x", Target(">=", 5), by_cpu_time=[4.0]),
    missing_row("fps", "frames/s", Target(">=", 60), "no CUDA device"),
]


def test_the_file_has_every_row_with_the_five_keys(tmp_path: Path) -> None:
    path = tmp_path / "new" / "speed.json"
    report = SpeedReport(path, {"command": "partnerface benchmark speed"})
    report.add(*ROWS)
    report.sections["profile"] = {"training_step": []}
    report.save()
    found = json.loads(path.read_text())
    assert found["suite"] == "speed"
    assert found["command"] == "partnerface benchmark speed"
    assert found["profile"] == {"training_step": []}
    assert [(r["name"], r["value"], r["holds"]) for r in found["rows"]] == [
        ("rate", 2.0, False),
        ("fps", None, None),
    ]
    for row in found["rows"]:
        assert {"name", "value", "unit", "target", "holds"} <= row.keys()
    assert [p.name for p in path.parent.iterdir()] == ["speed.json"]


def test_a_second_run_keeps_convergence_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    first = SpeedReport(path, {})
    first.add(*ROWS)
    first.sections |= {"convergence": {"nerface": {"60": {"psnr": 20.0}}}, "profile": {"a": []}}
    first.save()
    second = SpeedReport(path, {})
    assert second.sections == {"convergence": {"nerface": {"60": {"psnr": 20.0}}}}
    assert json.loads(path.read_text())["rows"] == []


def test_a_row_takes_the_place_of_its_name(tmp_path: Path) -> None:
    report = SpeedReport(tmp_path / "speed.json", {})
    report.add(*ROWS)
    report.replace(measured_row("fps", [70.0], "frames/s"))
    assert [(row.name, row.value) for row in report.rows] == [("rate", 2.0), ("fps", 70.0)]
    assert json.loads(report.path.read_text())["rows"][1]["value"] == 70.0


@pytest.mark.parametrize("content", ["{", "[1]", '{"suite": "other"}', "\x00\xff"])
def test_another_file_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"notes\.json: holds something else"):
        SpeedReport(path, {})
    assert path.read_text() == content


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "speed.json", tmp_path):
        with pytest.raises(UserError, match="cannot be written"):
            SpeedReport(path, {})


def _printed(table) -> str:
    console = Console(width=150)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_table_shows_what_holds_and_why_something_is_missing() -> None:
    lines = _printed(rows_table(ROWS)).splitlines()
    header = [cell.strip() for cell in lines[2].split("┃")[1:-1]]
    assert header == ["name", "value", "min - max", "by CPU time", "unit", "target", "holds"]
    rate = next(line for line in lines if "rate" in line)
    assert [cell.strip() for cell in rate.split("│")[1:-1]] == ["rate", "2", "1 - 3", "4", "x", ">= 5", "no"]
    missing = next(line for line in lines if "fps" in line)
    assert "no CUDA device" in missing
    assert missing.split("│")[-2].strip() == "-"


def test_the_stage_table_sums_up() -> None:
    stages = [
        {"stage": "a", "milliseconds": 30.0, "share": 0.75, "points": 12345},
        {"stage": "b", "milliseconds": 10.0, "share": 0.25, "points": None},
    ]
    text = _printed(stages_table("a step", stages))
    assert "12,345" in text
    total = next(line for line in text.splitlines() if "total" in line)
    assert "40.0" in total


def test_values_with_three_digits() -> None:
    assert [shown(v) for v in (0.01234, 1.5, 99.94, 123.4, 17224.0)] == [
        "0.0123", "1.5", "99.9", "123", "17,224",
    ]  # fmt: skip
