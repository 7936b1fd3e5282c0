"""Rows from the files of a run, and a file that keeps what other calls found."""

import json
from pathlib import Path

import pytest

from partnerface.benchmarks.methods.results_file import (
    check_budgets,
    gather_rows,
    head_psnr_text,
    merged_rows,
    read_results,
    rows_of,
)
from partnerface.benchmarks.methods.run import ENVIRONMENT_FILE, BenchmarkRun, ComputeBudget
from partnerface.benchmarks.methods.subject import BenchmarkSubject
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.errors import UserError

ENVIRONMENT = {"version": "1", "commit": "abc", "machine": {"cores": 2}}


@pytest.fixture
def run(tmp_path: Path) -> BenchmarkRun:
    """A finished run on two splits."""
    subject = BenchmarkSubject("synthetic_a", "synthetic_a", Path("sets/a"), 128, frames=240)
    variant = MethodVariant("part_deformation", (("parts", "4"),))
    run = BenchmarkRun(variant, subject, 7, ComputeBudget(steps=20), tmp_path)
    run.prepare()
    (run.folder / ENVIRONMENT_FILE).write_text(json.dumps(ENVIRONMENT))
    (run.folder / "metrics.csv").write_text("step,seconds,name,value\n20,9,train/cpu_seconds,3.5\n")
    _write_report(run, "metrics.json", "strict", {"temporal": 20.0, "unseen_expression": 18.0})
    run.add_attempt(0, 12.0)
    return run


def _write_report(run: BenchmarkRun, name: str, parameters: str, psnr: dict[str, float]) -> None:
    protocol = {
        "test_parameters": parameters,
        "num_frames": dict.fromkeys(psnr, 9),
        "num_train_frames": 100,
        "resolution": [128, 128],
        "lpips": None,
    }
    splits = {
        split: {"head_mask": {"psnr": value}, "nearest_frame": {"head_mask": {"psnr": 1.0}}}
        for split, value in psnr.items()
    }
    report = {"protocol": protocol, "splits": splits, "coverage": {"temporal": {"frames": 9}}}
    (run.folder / name).write_text(json.dumps(report))


def test_a_row_for_each_split_and_protocol(run: BenchmarkRun) -> None:
    _write_report(run, "metrics_refined.json", "refined", {"temporal": 22.0})
    rows = rows_of(run)
    found = {(row["split"], row["protocol"]): row["metrics"] for row in rows}
    assert found == {
        ("temporal", "strict"): {"head_mask": {"psnr": 20.0}},
        ("unseen_expression", "strict"): {"head_mask": {"psnr": 18.0}},
        ("temporal", "refined"): {"head_mask": {"psnr": 22.0}},
    }
    first = rows[0]
    assert (first["method"], first["overrides"]) == ("part_deformation", {"parts": "4"})
    assert (first["subject"], first["seed"], first["budget"]) == ("synthetic_a", 7, {"steps": 20})
    assert (first["steps"], first["cpu_seconds"], first["wall_seconds"]) == (20, 3.5, 12.0)
    assert (first["commit"], first["machine"]) == ("abc", {"cores": 2})
    assert first["nearest_frame"] == {"head_mask": {"psnr": 1.0}}
    assert first["command"] == run.command
    assert first["coverage"] == {"frames": 9}


def test_a_line_about_a_run(run: BenchmarkRun) -> None:
    assert head_psnr_text(run) == "temporal 20.00 dB, unseen expression 18.00 dB"
    _write_report(run, "metrics.json", "strict", {"temporal": 20.0, "temporal_sample": 19.0})
    assert head_psnr_text(run) == "temporal 20.00 dB"
    _write_report(run, "metrics.json", "strict", {"temporal_sample": 19.0})
    assert head_psnr_text(run) == "temporal sample 19.00 dB"


def test_rows_of_other_calls_stay_and_those_of_the_same_run_are_replaced(
    run: BenchmarkRun, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    other = rows_of(run)[0] | {"method": "nerface"}
    old = rows_of(run)[0] | {"metrics": {}}
    path.write_text(json.dumps([other, old]))
    rows = gather_rows(path, [run])
    assert rows == read_results(path) == [other, *rows_of(run)]
    assert [entry.name for entry in tmp_path.iterdir() if "partial" in entry.name] == []


def test_rows_that_differ_in_what_was_asked_are_kept_apart(make_row) -> None:
    rows = [
        make_row("ours", 1.0),
        make_row("ours", 1.0, seed=1),
        make_row("ours", 1.0, overrides={"parts": "2"}),
        make_row("ours", 1.0, protocol="refined"),
        make_row("ours", 1.0, split="temporal"),
        make_row("ours", 1.0, subject="me"),
    ]
    assert merged_rows(rows, rows) == rows


def test_results_under_another_budget(run: BenchmarkRun, tmp_path: Path) -> None:
    rows = rows_of(run)
    check_budgets(tmp_path, rows, [run])
    check_budgets(tmp_path, [rows[0] | {"subject": "me", "budget": {"steps": 3}}], [run])
    with pytest.raises(UserError, match="holds synthetic_a under steps 3; choose another --out"):
        check_budgets(tmp_path, [rows[0] | {"budget": {"steps": 3}}], [run])


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"method": "ours"}]'])
def test_a_file_that_holds_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"results.json"):
        read_results(path)
