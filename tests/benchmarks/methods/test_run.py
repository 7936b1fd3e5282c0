import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.benchmarks.methods.compared import BenchmarkSubject, MethodVariant
from partnerface.benchmarks.methods.plan import planned_runs
from partnerface.benchmarks.methods.run import BenchmarkRun, ComputeBudget, statics_of
from partnerface.configuration.config_files import CONFIGS
from partnerface.errors import UserError


def test_cpu_seconds_alone_end_a_training() -> None:
    flags = ComputeBudget(cpu_seconds=60.0).fit_flags()
    assert "--trainer.max_steps=-1" in flags
    assert "--trainer.max_time=null" in flags
    assert flags[-2:] == [
        "--trainer.callbacks+=partnerface.training.callbacks.budgets.CpuBudget",
        "--trainer.callbacks.seconds=60",
    ]


def test_steps_are_only_counted_in_cpu_seconds() -> None:
    budget = ComputeBudget(steps=20)
    assert "--trainer.max_steps=20" in budget.fit_flags()
    assert not any("seconds" in flag for flag in budget.fit_flags())
    assert budget.as_json() == {"steps": 20}


@pytest.mark.parametrize("given", [{}, {"steps": 3, "cpu_seconds": 4.0}])
def test_one_of_the_two(given: dict) -> None:
    with pytest.raises(ValueError, match="either"):
        ComputeBudget(**given)


@pytest.mark.parametrize("given", [{"steps": 0}, {"cpu_seconds": -1.0}])
def test_nothing_to_spend(given: dict) -> None:
    with pytest.raises(UserError, match="must be more than 0"):
        ComputeBudget(**given)


CLIP = BenchmarkSubject("me", "me.mp4", Path("sets/me"), 256, video=Path("me.mp4"))
EMBEDDED = BenchmarkSubject("synthetic_a", "synthetic_a", Path("sets/a"), 128, frames=240)


@pytest.fixture
def run(tmp_path: Path) -> BenchmarkRun:
    return BenchmarkRun(
        MethodVariant("part_deformation"), EMBEDDED, 1, ComputeBudget(cpu_seconds=60.0), tmp_path
    )


def _attempt(run: BenchmarkRun, exit_code: int | None, *, logged: bool) -> None:
    """Leave what an attempt leaves that has come as far as training."""
    (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run.folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    rows = "step,seconds,name,value\n" + ("900,70,train/cpu_seconds,60.1\n" if logged else "")
    (run.folder / "metrics.csv").write_text(rows)
    run.add_attempt(exit_code, 30.0)


def test_the_command_is_whole(run: BenchmarkRun) -> None:
    fit, test = run.command.split(" && ")
    assert fit.startswith("OMP_NUM_THREADS=1 partnerface fit --config configs/base.yaml ")
    for word in (
        "--config configs/scale/demo.yaml",
        "--seed_everything=1",
        "--data.seed=1",
        "callbacks.seconds=60",
    ):
        assert word in fit
    assert fit.endswith(f"--run_dir {run.folder}")
    assert test.startswith(
        f"OMP_NUM_THREADS=1 partnerface test --config {run.folder}/config.yaml "
        f"--ckpt_path {run.folder}/checkpoints/"
    )
    assert run.remaining_command == ["sh", "-c", run.command]


def test_a_video_is_tracked_first_and_seen_at_the_larger_scale(run: BenchmarkRun) -> None:
    command = replace(run, subject=CLIP).command
    assert command.startswith("partnerface track me.mp4 --out sets/me && OMP_NUM_THREADS=1 partnerface fit ")
    assert "configs/data/partnerface.yaml --config configs/scale/quick.yaml" in command


def test_a_method_without_a_hash_field_stays_at_the_scale_that_sizes_none(run: BenchmarkRun) -> None:
    command = replace(run, subject=CLIP, variant=MethodVariant("nerface")).command
    assert "--config configs/scale/demo.yaml" in command
    assert "--data.image_size=256" in command


def test_an_interrupted_training_goes_on(run: BenchmarkRun) -> None:
    _attempt(run, None, logged=False)
    assert " --ckpt_path last && OMP_NUM_THREADS=1 partnerface test " in run.remaining_command[-1]
    assert run.state == "interrupted"


def test_an_interrupted_test_is_all_that_is_left(run: BenchmarkRun) -> None:
    _attempt(run, None, logged=True)
    assert run.remaining_command[-1].startswith("OMP_NUM_THREADS=1 partnerface test ")
    assert run.state == "interrupted"


def test_a_test_that_has_left_its_scores_is_not_repeated(run: BenchmarkRun) -> None:
    """The benchmark was killed, its run was not."""
    run = replace(run, refined=True)
    _attempt(run, None, logged=True)
    (run.folder / "metrics.json").write_text("{}")
    assert run.remaining_command[-1].count("partnerface test") == 1
    assert run.remaining_command[-1].endswith("--model.test_parameters=refined")
    (run.folder / "metrics_refined.json").write_text("{}")
    assert run.remaining_command[-1] == "true"


def test_a_run_that_ended_well_is_finished(run: BenchmarkRun) -> None:
    _attempt(run, 0, logged=True)
    assert run.state == "finished"
    assert json.loads((run.folder / "run.json").read_text())["parameters"]["seed"] == 1


def test_refined_parameters_are_a_second_test(run: BenchmarkRun) -> None:
    refined = replace(run, refined=True)
    assert refined.command.count(" && OMP_NUM_THREADS=1 partnerface test ") == 2
    assert refined.command.endswith("--model.test_parameters=refined")
    # Fitting to frames that take seconds each would take hours.
    assert replace(refined, variant=MethodVariant("nerface")).command.count("partnerface test") == 1


def test_whatever_changes_the_result_changes_the_folder(run: BenchmarkRun, tmp_path: Path) -> None:
    configs = tmp_path / "configs"
    shutil.copytree(CONFIGS, configs)
    assert replace(run, configs=configs).folder == run.folder
    method = configs / "method" / "part_deformation.yaml"
    method.write_text(method.read_text().replace("parts: 64", "parts: 9"))
    others = [
        replace(run, configs=configs),
        replace(run, seed=2),
        replace(run, budget=ComputeBudget(cpu_seconds=61.0)),
        replace(run, budget=ComputeBudget(steps=60)),
        replace(run, subject=replace(EMBEDDED, size=64)),
        replace(run, variant=MethodVariant("part_deformation", (("parts", "8"),))),
    ]
    assert len({run.folder, *(other.folder for other in others)}) == 7


def test_a_folder_names_the_code_and_the_machine(run: BenchmarkRun) -> None:
    run.prepare()
    found = json.loads((run.folder / "environment.json").read_text())
    assert found.keys() == {"version", "commit", "machine"}
    assert found["machine"]["cores"] == os.cpu_count()


def test_budget_pixels_and_refinement_cost_time(run: BenchmarkRun) -> None:
    usual = run.expected_seconds
    assert replace(run, budget=ComputeBudget(cpu_seconds=160.0)).expected_seconds == usual + 100
    large = replace(run, subject=replace(EMBEDDED, size=256))
    slow = replace(large, variant=MethodVariant("nerface"))
    assert slow.expected_seconds > large.expected_seconds > usual
    # Fitting parameters to test frames takes longer than another test, and slow methods are spared it.
    testing = usual - replace(run, subject=replace(EMBEDDED, size=1)).expected_seconds
    assert replace(run, refined=True).expected_seconds > usual + 2 * testing
    # 12 frames of two splits in place of a hundred.
    assert replace(run, sample=12).expected_seconds == pytest.approx(usual - 0.76 * testing, rel=1e-3)
    assert replace(slow, refined=True).expected_seconds == slow.expected_seconds


def budget_of(subject: BenchmarkSubject) -> ComputeBudget:
    return ComputeBudget(cpu_seconds=60.0 if subject.is_synthetic else 240.0)


def test_seeds_come_in_turn_and_clips_have_their_own() -> None:
    variants = [MethodVariant("skinning_only"), MethodVariant("nerface")]
    seeds = {True: [0, 2], False: [1, 0]}
    runs = planned_runs(variants, [EMBEDDED, CLIP], seeds, budget_of, Path("out"), True)
    assert [(run.seed, run.subject.name, run.variant.method) for run in runs] == [
        (seed, name, variant.method)
        for seed, name in [(0, "synthetic_a"), (0, "me"), (1, "me"), (2, "synthetic_a")]
        for variant in variants
    ]
    assert all(run.budget == budget_of(run.subject) and run.refined for run in runs)


def test_the_oracle_runs_where_the_true_motion_is_known() -> None:
    variants = [MethodVariant("oracle"), MethodVariant("skinning_only")]
    seeds = {True: [0], False: [0]}
    runs = planned_runs(variants, [EMBEDDED, CLIP], seeds, budget_of, Path("out"), False)
    assert [(run.subject.name, run.variant.method) for run in runs] == [
        *(("synthetic_a", "oracle"), ("synthetic_a", "skinning_only"), ("me", "skinning_only"))
    ]
    with pytest.raises(
        UserError, match="--methods oracle: nothing to run on me; the oracle needs an embedded"
    ):
        planned_runs(variants[:1], [CLIP], seeds, budget_of, Path("out"), False)


def test_methods_start_from_statics_that_are_trained_once_for_each_person_and_seed() -> None:
    variants = [MethodVariant(name) for name in ("part_deformation", "skinning_only", "nerface")]
    starts, seeds = ("converged", "scratch"), {True: [0, 1], False: [0]}
    runs = planned_runs(variants, [EMBEDDED, CLIP], seeds, budget_of, Path("out"), False, starts, 4.0)
    statics = [run for run in runs if not run.tested]
    assert runs[: len(statics)] == statics
    assert [(run.subject.name, run.seed, str(run.variant)) for run in statics] == [
        *(
            ("synthetic_a", 0, "skinning_only"),
            ("me", 0, "skinning_only"),
            ("synthetic_a", 1, "skinning_only"),
        )
    ]
    assert [run.budget.cpu_seconds for run in statics] == [240.0, 960.0, 240.0]
    assert len(runs) == 3 + 3 * 2 + 3 * 3
    for run in runs:
        assert (run.start == "converged") == (run.after is not None)
        if run.after is not None:
            assert run.after in statics
            assert (run.after.subject, run.after.seed) == (run.subject, run.seed)
            # NeRFace has no deformation that could be trained by itself.
            assert run.variant.method != "nerface"
    assert len({run.folder for run in runs}) == len(runs)
    with pytest.raises(UserError, match="NeRFace the start 'scratch'"):
        planned_runs(variants[2:], [CLIP], seeds, budget_of, Path("out"), False, ("converged",))


def test_statics_have_the_field_of_the_method_that_starts_from_them(tmp_path: Path) -> None:
    shutil.copytree(CONFIGS / "method", tmp_path / "method")
    path = tmp_path / "method" / "global_deformation.yaml"
    path.write_text(path.read_text().replace("levels: 8", "levels: 9"))
    finer, moving = ("model.avatar.init_args.field.init_args.finest", "512"), ("parts", "4")
    plain = MethodVariant("part_deformation", (moving,))
    assert statics_of(plain, tmp_path) == MethodVariant("skinning_only")
    assert statics_of(MethodVariant("oracle"), tmp_path) == MethodVariant("skinning_only")
    changed = MethodVariant("part_deformation", (moving, finer))
    assert statics_of(changed, tmp_path) == MethodVariant("skinning_only", (finer,))
    other = statics_of(MethodVariant("global_deformation"), tmp_path)
    assert other.method == "global_deformation"
    [flag] = other.fit_flags()
    assert re.fullmatch(r"--model\.avatar\.init_args\.deformation=.*\.NoDeformation", flag)


def test_a_run_from_statics_waits_for_them_and_its_command_makes_them(run: BenchmarkRun) -> None:
    statics = replace(run, variant=MethodVariant("skinning_only"), tested=False)
    after = replace(run, after=statics)
    assert after.remaining_command[-1].startswith(
        "echo 'skinning_only · synthetic_a · seed 1 · statics, from"
    )
    _attempt(statics, 0, logged=True)
    fit, test = after.remaining_command[-1].split(" && ")
    assert f"--model.start_from={statics.folder}/checkpoints/last.ckpt" in fit
    assert after.command == f"{statics.command} && {fit} && {test}"
    assert statics.command.count("partnerface") - statics.command.count("partnerface.") == 1
    assert statics.expected_seconds < run.expected_seconds == after.expected_seconds
    longer = replace(after, after=replace(statics, budget=ComputeBudget(cpu_seconds=61.0)))
    assert longer.folder != after.folder
