"""The file is whole at any time, keeps what took hours, and never replaces something else."""

import json
from pathlib import Path

import pytest

from partnerface.benchmarks.speed.report import SpeedReport
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
    with pytest.raises(UserError, match=r"notes\.json: .*choose another"):
        SpeedReport(path, {})
    assert path.read_text() == content


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "speed.json", tmp_path):
        with pytest.raises(UserError, match="cannot be written"):
            SpeedReport(path, {})
