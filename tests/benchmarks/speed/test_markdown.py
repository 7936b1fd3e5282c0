"""What stands in the file stands in the tables, and a missed target says so."""

from partnerface.benchmarks.speed.markdown import print_report, speed_markdown
from partnerface.benchmarks.speed.result_row import Target, measured_row, missing_row


def report(**sections: object) -> dict:
    rows = [
        measured_row("fast", [90.0, 150.0, 140.0], "x", Target(">=", 120), by_cpu_time=[130.0]),
        measured_row("slow", [1.19], "x", Target("<=", 1.15)),
        measured_row("plain", [0.5], "GB"),
        missing_row("cuda_one", "x", None, "no CUDA device"),
        missing_row("cuda_two", "x", Target(">=", 60), "no CUDA device"),
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
