"""The suite: resumed, with failures, interrupted; and what it refuses."""

import json
import os
import shlex
import signal
import threading
import time
from pathlib import Path

import pytest

from partnerface.benchmarks.methods.compared import BenchmarkSubject
from partnerface.benchmarks.methods.run import BenchmarkRun
from partnerface.benchmarks.sections import METHODS_SECTION, markers, read_section
from partnerface.cli.main import main
from partnerface.runs.worker_pool import WorkerPool

METHODS = "part_deformation,skinning_only"


def _report(psnr: float) -> str:
    splits = ("temporal", "unseen_expression")
    protocol = {
        "test_parameters": "strict",
        "num_frames": dict.fromkeys(splits, 4),
        "num_train_frames": 17,
        "resolution": [32, 32],
        "lpips": None,
    }
    regions = {"head_mask": {"psnr": psnr}, "nearest_frame": {"head_mask": {"psnr": 9.0}}}
    return json.dumps({"protocol": protocol, "splits": dict.fromkeys(splits, regions)})


@pytest.fixture
def instant_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs end at once and score 20 dB and their seed; the seed in the file `broken` fails."""
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken"

    original = BenchmarkRun.remaining_command

    def remaining_command(run: BenchmarkRun) -> list[str]:
        if run.after is not None and run.after.state != "finished":
            return original.fget(run)
        log = "step,seconds,name,value\n20,3,train/cpu_seconds,2.5\n"
        folder = shlex.quote(str(run.folder))
        script = (
            f"cd {folder} && printf x >> starts && "
            f"if [ -f {broken} ] && [ $(cat {broken}) = {run.seed} ]; then echo it broke; exit 1; fi && "
            f"printf %s {shlex.quote(log)} > metrics.csv && "
            f"printf %s {shlex.quote(_report(20.0 + run.seed))} > metrics.json"
        )
        return ["sh", "-c", script]

    monkeypatch.setattr(BenchmarkRun, "remaining_command", property(remaining_command))
    monkeypatch.setattr(BenchmarkSubject, "prepare", lambda subject, run: None)
    return tmp_path


def _starts(folder: Path) -> int:
    return sum(len(path.read_text()) for path in folder.glob("runs/methods/runs/*/starts"))


def _benchmark(*flags: str) -> int:
    common = ["--methods", METHODS, "--subjects", "synthetic_a", "--seeds", "0,2"]
    return main(["benchmark", *common, *([] if "--starts" in flags else ["--starts", "scratch"]), *flags])


def test_failures_are_mended_and_nothing_is_repeated(instant_runs: Path, capsys) -> None:
    (instant_runs / "broken").write_text("2")
    assert _benchmark() == 2
    printed = capsys.readouterr()
    assert printed.out.count("it broke") == 2
    assert "2 of 4 runs failed" in printed.err.splitlines()[-1]
    assert len(json.loads((instant_runs / "runs/methods/results.json").read_text())) == 4
    assert _starts(instant_runs) == 4

    (instant_runs / "broken").unlink()
    assert _benchmark() == 0
    assert "2 of 4 runs have finished before" in capsys.readouterr().err
    assert _starts(instant_runs) == 6
    assert _benchmark() == 0
    assert _starts(instant_runs) == 6
    rows = json.loads((instant_runs / "runs/methods/results.json").read_text())
    assert sorted((row["method"], row["split"], row["seed"]) for row in rows) == sorted(
        (method, split, seed)
        for method in METHODS.split(",")
        for split in ("temporal", "unseen_expression")
        for seed in (0, 2)
    )
    assert {row["metrics"]["head_mask"]["psnr"] - row["seed"] for row in rows} == {20.0}
    for name in ("results.md", "bars.png"):
        assert (instant_runs / "runs/methods" / name).is_file()


def test_a_later_call_adds_variants_and_their_curve(instant_runs: Path) -> None:
    assert _benchmark() == 0
    assert _benchmark("--methods", "part_deformation:parts=2/4") == 0
    out = instant_runs / "runs/methods"
    rows = json.loads((out / "results.json").read_text())
    assert {row["overrides"].get("parts") for row in rows} == {None, "2", "4"}
    assert (out / "curve_part_deformation_parts.png").is_file()
    assert "skinning_only" in (out / "results.md").read_text()


def test_the_readme_round_trips(instant_runs: Path) -> None:
    readme = instant_runs / "README.md"
    readme.write_text("\n".join(["# Title", *markers(METHODS_SECTION), "end\n"]))
    assert _benchmark("--readme", str(readme)) == 0
    assert (
        read_section(readme, METHODS_SECTION)
        == (instant_runs / "runs/methods/results.md").read_text().strip()
    )
    first = readme.read_text()
    assert "| part_deformation | 21.00 ± 1.41 |" in first
    assert first.endswith("end\n")
    assert _benchmark("--readme", str(readme)) == 0
    assert readme.read_text() == first


def test_methods_start_where_statics_have_ended(instant_runs: Path, capsys) -> None:
    (instant_runs / "broken").write_text("2")
    assert _benchmark("--starts", "converged,scratch") == 2
    printed = capsys.readouterr()
    # Statics and both methods from scratch broke; those that start from the statics were not begun.
    assert printed.out.count("it broke") == 3
    assert printed.out.count("from which this training starts, has not finished") == 2
    assert _starts(instant_runs) == 8
    (instant_runs / "broken").unlink()
    assert _benchmark("--starts", "converged,scratch") == 0
    rows = json.loads((instant_runs / "runs/methods/results.json").read_text())
    assert len(rows) == 16
    assert {(row["start"], str(row["statics_budget"])) for row in rows} == {
        ("scratch", "None"),
        ("converged", "{'cpu_seconds': 240.0}"),
    }
    text = (instant_runs / "runs/methods/results.md").read_text()
    assert text.index("**From converged statics**") < text.index("**From scratch**")


def test_an_interrupt_keeps_what_is_done(instant_runs: Path, capsys, monkeypatch) -> None:
    original = WorkerPool._collect

    def interrupted(pool: WorkerPool) -> None:
        original(pool)
        if _starts(instant_runs) >= 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkerPool, "_collect", interrupted)
        assert _benchmark("--workers", "1") == 130
    capsys.readouterr()
    assert _benchmark("--workers", "1") == 0
    assert _starts(instant_runs) <= 5
    assert len(json.loads((instant_runs / "runs/methods/results.json").read_text())) == 8


def test_a_plan_runs_nothing(instant_runs: Path, capsys) -> None:
    assert _benchmark("--plan", "true") == 0
    printed = capsys.readouterr()
    assert printed.out.count("OMP_NUM_THREADS=1 partnerface fit") == 4
    assert "4 runs; about 0:0" in printed.err
    assert not (instant_runs / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--methods", "part_deformatoin"], "did you mean 'part_deformation'?"),
        (["--subjects", "nobody"], "'nobody' is neither"),
        (["--seeds", "0;1"], "--seeds 0;1: must be whole numbers"),
        (["--clip_seeds", "-1"], "--clip_seeds -1"),
        (["--workers", "0"], "--workers 0"),
        (["--cpu_seconds", "0"], "--cpu_seconds 0"),
        (["--steps", "0"], "--steps 0"),
        (["--starts", "cold"], "--starts cold: choose converged, scratch or both"),
        (["--statics", "0"], "--statics 0: must be more than 0"),
        (["--subjects", "synthetic_c:noise=1"], "'noise=1' is not NAME=NUMBER"),
        (["--readme", "none.md"], "--readme none.md: cannot be read"),
        (["--subject", "synthetic_a"], "did you mean 'subjects'?"),
    ],
)
def test_what_it_refuses(instant_runs: Path, capsys, flags: list[str], part: str) -> None:
    assert main(["benchmark", *flags]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert part in line
    assert not (instant_runs / "runs").exists()


def test_another_budget_needs_another_folder(instant_runs: Path, capsys) -> None:
    assert _benchmark() == 0
    capsys.readouterr()
    assert _benchmark("--steps", "3") == 2
    assert "holds synthetic_a under cpu_seconds 60" in capsys.readouterr().err.splitlines()[-1]
    assert _benchmark("--steps", "3", "--out", "other") == 0


def test_a_terminated_benchmark_leaves_no_tracker_behind(tmp_path: Path, capfd, monkeypatch) -> None:
    video, note = tmp_path / "me.mp4", tmp_path / "pid"
    video.touch()
    tracker = f"import os, time; open({str(note)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(60)"
    monkeypatch.setattr(BenchmarkSubject, "track_words", lambda _: ["timeit", "-n1", "-r1", tracker])

    def terminate() -> None:
        end = time.monotonic() + 30
        while not (note.exists() and note.read_text().endswith(" ")) and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    # Where nobody heeds it, it must not end the tests.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        assert main(["benchmark", "--out", str(tmp_path / "out"), "--subjects", str(video)]) == 143
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert "partnerface: terminated" in capfd.readouterr().err
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
