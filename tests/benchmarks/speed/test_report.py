"""The speed report: its file, its tables and its figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partnerface.benchmarks.speed.growth import GrowthCurve
from partnerface.benchmarks.speed.measurement import ResultRow, Target, measured_row
from partnerface.benchmarks.speed.report import (
    SpeedReport,
    print_report,
    speed_markdown,
    write_convergence_figure,
    write_growth_figure,
    write_stage_figure,
)
from partnerface.errors import UserError

ROWS = [
    measured_row("rate", [1.0, 3.0, 2.0], "x", Target(">=", 5), by_cpu_time=[4.0]),
    ResultRow("fps", None, "frames/s", Target(">=", 60), "no CUDA device"),
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


def report(**sections: object) -> dict:
    rows = [
        measured_row("fast", [90.0, 150.0, 140.0], "x", Target(">=", 120), by_cpu_time=[130.0]),
        measured_row("slow", [1.19], "x", Target("<=", 1.15)),
        measured_row("plain", [0.5], "GB"),
        ResultRow("cuda_one", None, "x", None, "no CUDA device"),
        ResultRow("cuda_two", None, "x", Target(">=", 60), "no CUDA device"),
    ]
    machine = {"cores": 2, "processor": "AMD EPYC", "cuda": None, "load_at_start": None}
    return {
        "command": "partnerface benchmark speed",
        "commit": "abc1234",
        "machine": machine,
        "rows": [row.as_json() for row in rows],
        **sections,
    }


def test_rows_with_spread_target_and_what_was_missed() -> None:
    lines = speed_markdown(report(), {}).splitlines()
    assert lines[0] == "`partnerface benchmark speed`, commit abc1234, 2 cores of AMD EPYC:"
    assert "| fast | 140 | 90 - 150 | 130 | x | >= 120 |" in lines
    assert "| slow | 1.19 | 1.19 - 1.19 |  | x | <= 1.15: missed |" in lines
    assert "| plain | 0.5 | 0.5 - 0.5 |  | GB |  |" in lines
    assert "Not measured, no CUDA device: cuda_one, cuda_two." in lines


def test_stages_sum_up() -> None:
    stages = [
        {"stage": "backward", "milliseconds": 30.04, "share": 0.75, "points": None},
        {"stage": "inverse skinning", "milliseconds": 10.0, "share": 0.25, "points": 33000},
    ]
    lines = speed_markdown(report(profile={"training_step": stages}), {}).splitlines()
    assert "| backward | 30.0 | 75% |  |" in lines
    assert "| inverse skinning | 10.0 | 25% | 33,000 |" in lines
    assert "| total | 40.0 |  |  |" in lines


def test_the_printed_rows_say_why_something_is_missing(capsys) -> None:
    print_report(report())
    lines = capsys.readouterr().out.splitlines()
    slow = next(line for line in lines if "slow" in line)
    assert [cell.strip() for cell in slow.split("│")[1:-1]] == [
        *("slow", "1.19", "1.19 - 1.19", "", "x", "<= 1.15: missed")
    ]
    assert sum("- (no CUDA device)" in line for line in lines) == 2


def test_convergence_shows_the_short_training_and_the_way_of_the_long_one() -> None:
    found = {
        "ours": {
            "60": {"psnr": 26.71, "cpu_seconds": 60.2, "curve": [(60.2, 26.71)]},
            "240": {"psnr": 27.5, "cpu_seconds": 240.4, "curve": [(10.1, 22.0), (240.4, 27.5)]},
            "600": {"psnr": 27.9, "cpu_seconds": 600.1, "curve": [(600.1, 27.9)]},
        },
        "other": {"240": {"psnr": 25.0, "cpu_seconds": 240.0, "curve": [(10.0, 20.0), (240.0, 25.0)]}},
        "interrupted": {"60": {"psnr": 20.0, "cpu_seconds": 60.0, "curve": [(60.0, 20.0)]}},
    }
    text = speed_markdown(report(convergence=found), {"growth": "pictures/speed_growth.png"})
    lines = text.splitlines()
    head = "at 10 s | at 240 s | trained for 60 CPU s | trained for 600 CPU s |"
    assert f"| PSNR inside the head mask, dB | {head}" in lines
    assert "| ours | 22.0 | 27.5 | 26.7 | 27.9 |" in lines
    assert "| other | 20.0 | 25.0 |  |  |" in lines
    assert "interrupted" not in text
    assert lines[-1] == "![growth of the cost](pictures/speed_growth.png)"


def test_each_method_has_a_line_of_its_own_colour(tmp_path: Path) -> None:
    def long(score: float) -> dict:
        return {"cpu_seconds": 600.0, "psnr": score, "curve": [(10.0, 15.0), (600.0, score)]}

    found = {
        "a": {"60": {"cpu_seconds": 60.0, "psnr": 22.0, "curve": [(60.0, 22.0)]}, "600": long(25.0)},
        "b": {"600": long(20.0)},
    }
    write_convergence_figure(tmp_path / "figure.png", found)
    image = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB"), np.int16)
    blue = image[..., 2] - image[..., 0] > 80
    orange = image[..., 0] - image[..., 2] > 150
    assert blue.sum() > 200
    assert orange.sum() > 200
    # The better one ends higher, that is in a smaller row, before the legend.
    assert blue.nonzero()[0].min() < orange.nonzero()[0].min()


@pytest.mark.parametrize("count", [1, 4])
def test_the_growth_figure_shows_every_curve(count: int, tmp_path: Path) -> None:
    curves = [GrowthCurve(str(k), "size", "cost", [1, 2, 4], [3.0, 5.0, 9.0]) for k in range(count)]
    write_growth_figure(tmp_path / "growth.png", curves)
    image = np.asarray(Image.open(tmp_path / "growth.png").convert("RGB"), np.int16)
    blue = (image[..., 2] - image[..., 0] > 80).any(0)
    starts = np.flatnonzero(np.diff(blue.astype(int)) == 1)
    assert len(starts) >= min(count, 3)


def test_the_stage_figure_has_longer_bars_for_slower_stages(tmp_path: Path) -> None:
    stages = [
        {"stage": "slow", "milliseconds": 30.0, "share": 0.75, "points": 3},
        {"stage": "fast", "milliseconds": 10.0, "share": 0.25, "points": None},
    ]
    write_stage_figure(tmp_path / "stages.png", {"step": stages})
    image = np.asarray(Image.open(tmp_path / "stages.png").convert("RGB"), np.int16)
    blue = (image[..., 2] - image[..., 0] > 80).sum(1)
    rows = blue[blue > 0]
    assert rows[0] == pytest.approx(3 * rows[-1], rel=0.05)
