"""Rows of finished runs are kept whole; they are selected and averaged over seeds, and samples stand in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.benchmarks.methods.compared import BenchmarkSubject, MethodVariant
from partnerface.benchmarks.methods.method_results import (
    FINE_PSNR,
    HEAD_LPIPS,
    HEAD_PSNR,
    MM_FINE_FACE,
    MethodResults,
)
from partnerface.benchmarks.methods.results import (
    check_budgets,
    gather_rows,
    read_results,
    result_text,
    rows_of,
)
from partnerface.benchmarks.methods.run import BenchmarkRun, ComputeBudget
from partnerface.errors import UserError
from partnerface.runs.results import SeedScores
from partnerface.runs.run import ENVIRONMENT_FILE

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
        "split_frames": {"train": 100},
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
    found = {(row["split"], row["test_parameters"]): row["metrics"] for row in rows}
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


MOTION = {
    "mm_left": {"fine_face": 0.31, "hair": 0.7, "quiet_face": 0.02},
    "mm_nothing": {"fine_face": 0.35, "hair": 1.1, "quiet_face": 0.02},
    "cosine": {"fine_face": 0.4},
}
FINE_MOTION = {"psnr": 25.0, "lpips": 0.1, "ceiling_psnr": 26.0, "sampling_psnr": 45.0, "counts": False}


def test_rows_of_a_person_whose_true_motion_is_known(run: BenchmarkRun) -> None:
    path = run.folder / "metrics.json"
    report = json.loads(path.read_text())
    report["splits"]["temporal"]["fine_motion"] = FINE_MOTION
    path.write_text(json.dumps(report | {"motion": {"temporal": MOTION, "train": MOTION}}))
    with_motion, without, train = rows_of(run)
    assert {key: with_motion[key] for key in MOTION} == MOTION
    # With six digits, like all that is measured.
    assert with_motion["explained"] == {"fine_face": 0.114286, "hair": 0.363636, "quiet_face": 0.0}
    assert (train["split"], train["frames"], train["metrics"]) == ("train", 100, {})
    assert {key: train[key] for key in MOTION} == MOTION
    assert result_text(run) == "temporal 11% explained, train 11% explained"
    assert with_motion["fine_motion"] == FINE_MOTION
    assert with_motion["metrics"] == {"head_mask": {"psnr": 20.0}}
    assert MM_FINE_FACE.of_row(with_motion) == 0.31
    assert FINE_PSNR.of_row(with_motion) == 25.0
    # Of a real video nothing is known, and nothing is said.
    path.write_text(json.dumps(report | {"motion": None}))
    assert len(rows_of(run)) == 2
    for row in (without, rows_of(run)[1]):
        assert not {*MOTION, "fine_motion"} & row.keys()
        assert MM_FINE_FACE.of_row(row) is None


def test_a_method_without_offsets_explains_nothing_that_is_known(run: BenchmarkRun) -> None:
    path = run.folder / "metrics.json"
    motion = MOTION | {"mm_left": dict.fromkeys(MOTION["mm_left"]), "mm_nothing": {"fine_face": 0.3}}
    still = MOTION | {"mm_nothing": dict.fromkeys(MOTION["mm_left"], 0.0)}
    report = json.loads(path.read_text()) | {"motion": {"temporal": motion, "train": still}}
    path.write_text(json.dumps(report))
    rows = {row["split"]: row for row in rows_of(run)}
    nothing = dict.fromkeys(("fine_face", "hair", "quiet_face"))
    assert rows["temporal"]["explained"] == rows["train"]["explained"] == nothing


def test_splits_of_each_person_hardest_first(make_row) -> None:
    splits = {"synthetic_a": ["temporal", "unseen_expression"], "synthetic_c": ["larger", "temporal"]}
    rows = [make_row("ours", 1.0, subject=name, split=split) for name in splits for split in splits[name]]
    results = MethodResults(
        [*rows, make_row("ours", 1.0, subject="synthetic_c", split="unseen_combination_sample")]
    )
    assert results.splits == ["unseen_combination", "unseen_expression", "temporal", "larger"]
    assert results.splits_of("synthetic_a") == ["unseen_expression", "temporal"]
    assert results.splits_of("synthetic_c") == ["unseen_combination", "temporal", "larger"]


def test_a_line_about_a_run(run: BenchmarkRun) -> None:
    assert result_text(run) == "temporal 20.00 dB, unseen expression 18.00 dB"
    _write_report(run, "metrics.json", "strict", {"temporal": 20.0, "temporal_sample": 19.0})
    assert result_text(run) == "temporal 20.00 dB"
    _write_report(run, "metrics.json", "strict", {"temporal_sample": 19.0})
    assert result_text(run) == "temporal sample 19.00 dB"


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


def test_rows_that_differ_in_what_was_asked_are_kept_apart(make_row, tmp_path: Path) -> None:
    rows = [
        make_row("ours", 1.0),
        make_row("ours", 1.0, seed=1),
        make_row("ours", 1.0, overrides={"parts": "2"}),
        make_row("ours", 1.0, test_parameters="refined"),
        make_row("ours", 1.0, split="temporal"),
        make_row("ours", 1.0, subject="me"),
        make_row("ours", 1.0, start="converged", statics_budget={"steps": 80}),
    ]
    (tmp_path / "results.json").write_text(json.dumps([*rows, *rows]))
    assert gather_rows(tmp_path / "results.json", []) == rows


def test_rows_of_before_there_was_a_choice_started_from_scratch(make_row, tmp_path: Path) -> None:
    row = make_row("ours", 1.0)
    old = {key: value for key, value in row.items() if key not in ("start", "statics_budget")}
    (tmp_path / "results.json").write_text(json.dumps([old]))
    assert read_results(tmp_path / "results.json") == [row]


def test_results_under_another_budget(run: BenchmarkRun, tmp_path: Path) -> None:
    rows = rows_of(run)
    check_budgets(tmp_path, rows, [run])
    check_budgets(tmp_path, [rows[0] | {"subject": "me", "budget": {"steps": 3}}], [run])
    with pytest.raises(UserError, match="holds synthetic_a under steps 3; choose another --out"):
        check_budgets(tmp_path, [rows[0] | {"budget": {"steps": 3}}], [run])
    with pytest.raises(UserError, match="steps 20, tested on 12 frames of a split; choose another --out"):
        check_budgets(tmp_path, [rows[0] | {"sample": 12}], [run])
    statics = replace(run, budget=ComputeBudget(steps=80), tested=False)
    after = {"start": "converged", "statics_budget": {"steps": 60}}
    check_budgets(tmp_path, [rows[0] | after], [run, statics])
    with pytest.raises(UserError, match="under steps 20 after statics of steps 60; choose another --out"):
        check_budgets(tmp_path, [rows[0] | after], [statics, replace(run, after=statics)])


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"method": "ours"}]'])
def test_a_file_that_holds_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"results.json"):
        read_results(path)


OURS, SPLIT = MethodVariant("ours"), "unseen_expression"


def test_scores_of_all_seeds_and_of_nothing_else(make_row) -> None:
    values = (27.0, 27.5, 26.2)
    rows = [make_row("ours", value, seed=seed) for seed, value in enumerate(values)]
    rows += [make_row("ours", 1.0, split="temporal"), make_row("ours", 2.0, overrides={"parts": "4"})]
    rows += [make_row("ours", 3.0, test_parameters="refined"), make_row("ours", 4.0, subject="me")]
    results = MethodResults(rows)
    changed = MethodVariant("ours", (("parts", "4"),))
    assert results.scores(OURS, "synthetic_a", SPLIT, HEAD_PSNR) == SeedScores(values)
    assert results.scores(changed, "synthetic_a", SPLIT, HEAD_PSNR) == SeedScores((2.0,))
    assert results.scores(OURS, "synthetic_a", SPLIT, HEAD_PSNR, "refined") == SeedScores((3.0,))


def test_missing_values_are_no_scores(make_row) -> None:
    results = MethodResults([make_row("ours", 27.0, None)])
    assert results.scores(OURS, "synthetic_a", SPLIT, HEAD_LPIPS) is None
    assert results.scores(MethodVariant("theirs"), "synthetic_a", SPLIT, HEAD_PSNR) is None
    assert results.nearest_frame("synthetic_b", SPLIT, HEAD_PSNR) is None
    assert results.nearest_frame("synthetic_a", SPLIT, HEAD_PSNR) == 15.0
    sampled = MethodResults([make_row("ours", 27.0, split=f"{SPLIT}_sample")])
    assert sampled.nearest_frame("synthetic_a", SPLIT, HEAD_PSNR) == 15.0
    assert sampled.mean_of("synthetic_a", SPLIT, HEAD_PSNR) == 27.0


def test_a_sample_stands_in_where_the_whole_split_was_not_tested(make_row) -> None:
    sample = "unseen_expression_sample"
    rows = [
        make_row("ours", 27.0),
        make_row("ours", 26.0, split=sample),
        make_row("slow", 13.0, split=sample),
    ]
    results = MethodResults(rows)
    shown = {
        method: results.scores(MethodVariant(method), "synthetic_a", SPLIT, HEAD_PSNR, or_sample=True)
        for method in results.methods
    }
    assert shown == {"ours": SeedScores((27.0,)), "slow": SeedScores((13.0,), sampled=True)}
    assert results.splits == [SPLIT]


def test_variants_are_told_apart_by_their_values_in_any_order(make_row) -> None:
    first, second = {"parts": "2", "x": "1"}, {"x": "1", "parts": "2"}
    rows = [make_row("ours", 1.0, overrides=o, seed=k) for k, o in enumerate((first, second, {"x": "1"}))]
    variants = MethodResults([*rows, make_row("ours", 1.0)]).variants
    assert [str(variant) for variant in variants] == ["ours", "ours:parts=2:x=1", "ours:x=1"]


def test_orders(make_row) -> None:
    rows = [
        make_row("theirs", 1.0, subject="me", split="blocks"),
        make_row("other", 1.0, split="temporal"),
        make_row("ours", 1.0, overrides={"parts": "2"}),
        make_row("ours", 1.0),
    ]
    results = MethodResults(rows, ["ours", "theirs"])
    assert results.methods == ["ours", "theirs", "other"]
    assert results.subjects == ["synthetic_a", "me"]
    assert results.splits == [SPLIT, "temporal", "blocks"]
