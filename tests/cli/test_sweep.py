"""The command: a grid to its report, resumed, with failures; what it refuses; two real trainings."""

import csv
import json
import sys
from pathlib import Path

import pytest
import yaml

from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from partnerface.runs.worker_pool import WorkerPool

PROGRAM = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["WANDB_DIR"])
with (folder / "starts").open("a") as starts:
    starts.write("x")
flags = dict(word.split("=", 1) for word in sys.argv[1:])
if flags["x"] == "9" and not (folder.parent / "mended").exists():
    print("loading")
    sys.exit("ValueError: 9 is odd")
text = f"step,seconds,name,value\\n1,0,score,{-(float(flags['x']) - 4) ** 2 + 0.5 * float(flags['seed'])}\\n"
(folder / "metrics.csv").write_text(text)
"""
PARAMETERS = {"x": {"values": [1, 4, 9]}, "seed": {"values": [0, 1]}}


@pytest.fixture
def write_sweep(tmp_path: Path):
    """Writes a sweep of a program that ends at once, with changes; None leaves a key out."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def write(**changes: object) -> Path:
        content = {
            "program": str(tmp_path / "program.py"),
            "method": "grid",
            "metric": {"name": "score", "goal": "maximize"},
            "parameters": PARAMETERS,
            "command": ["${interpreter}", "-S", "${program}", "${args_no_hyphens}"],
            **changes,
        }
        path = tmp_path / "top.yaml"
        kept = {key: value for key, value in content.items() if value is not None}
        path.write_text("# Where is the top?\n" + yaml.safe_dump(kept, sort_keys=False))
        return path

    return write


def _starts(out: Path) -> int:
    return sum(len(path.read_text()) for path in out.glob("*/starts"))


def _error_line(capsys, arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(["sweep", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("partnerface: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_grid_with_failures_then_mended(write_sweep, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = [str(write_sweep()), "--out", str(out), "--workers", "2"]
    assert main(["sweep", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out.count("ValueError: 9 is odd") == 2
    assert "2 of 6 runs failed" in printed.err.splitlines()[-1]
    found = json.loads((out / "sweep.json").read_text())
    assert {(r["parameters"]["x"], r["parameters"]["seed"]): r["value"] for r in found["runs"]} == {
        **{(1, 0): -9, (1, 1): -8.5, (4, 0): 0, (4, 1): 0.5},
        **{(9, 0): None, (9, 1): None},
    }
    assert found["settings"][0]["parameters"] == {"x": 4}
    assert found["settings"][0]["mean"] == 0.25
    assert "Where is the top?" in printed.out
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert _starts(out) == 6

    (out / "mended").touch()
    assert main(["sweep", *arguments]) == 0
    assert "4 of 6 runs have finished before" in capsys.readouterr().err
    assert _starts(out) == 8
    assert main(["sweep", *arguments]) == 0
    assert _starts(out) == 8
    with (out / "sweep.csv").open(newline="") as file:
        assert [row["score"] for row in csv.DictReader(file)] == [
            "-9.0",
            "-8.5",
            "0.0",
            "0.5",
            "-25.0",
            "-24.5",
        ]


def test_random_goes_on_with_a_larger_count(write_sweep, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    ranges = {"x": {"min": 0.0, "max": 8.0}, "seed": {"value": 0}}
    path = str(write_sweep(method="random", parameters=ranges))
    assert "--count" in _error_line(capsys, [path, "--out", str(out)])
    assert not out.exists()
    for count, starts in (("2", 2), ("4", 4), ("4", 4)):
        assert main(["sweep", path, "--out", str(out), "--count", count]) == 0
        assert _starts(out) == starts
    found = json.loads((out / "sweep.json").read_text())
    for run in found["runs"]:
        assert run["value"] == pytest.approx(-((run["parameters"]["x"] - 4) ** 2), rel=1e-6)


def test_an_interrupt_keeps_what_is_done(write_sweep, tmp_path: Path, capsys, monkeypatch) -> None:
    out = tmp_path / "out"
    original = WorkerPool._collect

    def interrupted(self: WorkerPool) -> None:
        original(self)
        if _starts(out) >= 3:
            raise KeyboardInterrupt

    path = str(write_sweep(parameters={"x": {"values": [1, 2, 3, 4]}, "seed": {"value": 0}}))
    with monkeypatch.context() as patch:
        patch.setattr(WorkerPool, "_collect", interrupted)
        assert main(["sweep", path, "--out", str(out)]) == 130
    assert "interrupted" in capsys.readouterr().err
    before = {run["folder"]: run["state"] for run in json.loads((out / "sweep.json").read_text())["runs"]}
    assert list(before.values()).count("finished") >= 2
    assert main(["sweep", path, "--out", str(out)]) == 0
    assert _starts(out) <= 5
    assert (out / "sweep.png").exists()


@pytest.mark.parametrize(
    ("changes", "flags", "part"),
    [
        ({"method": "bayes"}, [], "method bayes"),
        ({"method": "guess"}, [], "method guess"),
        ({"parameters": None}, [], "parameters: missing"),
        ({"budget": 3}, [], "unknown key 'budget'"),
        ({"command": ["${argz}"]}, [], "no macro ${argz}"),
        ({}, ["--workers", "0"], "--workers 0"),
        ({}, ["--count", "0"], "--count 0"),
        ({}, ["--worker", "1"], "did you mean 'workers'?"),
    ],
)
def test_what_it_refuses(write_sweep, tmp_path: Path, capsys, changes: dict, flags: list, part: str) -> None:
    out = tmp_path / "out"
    assert part in _error_line(capsys, [str(write_sweep(**changes)), "--out", str(out), *flags])
    assert not out.exists()


def test_folders_it_refuses(write_sweep, tmp_path: Path, capsys) -> None:
    path = str(write_sweep())
    assert "holds other files" in _error_line(capsys, [path, "--out", str(tmp_path)])
    assert "cannot be written" in _error_line(capsys, [path, "--out", f"{path}/out"])
    assert "cannot be read" in _error_line(capsys, [str(tmp_path / "none.yaml")])


def test_a_metric_that_no_run_logged(write_sweep, tmp_path: Path, capsys) -> None:
    path = str(
        write_sweep(metric={"name": "scorn"}, parameters={"x": {"values": [1, 2]}, "seed": {"value": 0}})
    )
    line = _error_line(capsys, [path, "--out", str(tmp_path / "out")])
    assert line == "partnerface: metric scorn: no run logged it; they logged score"


def test_a_program_that_is_not_there(write_sweep, tmp_path: Path, capsys) -> None:
    path = str(write_sweep(command=["/no/such/program"]))
    line = _error_line(capsys, [path, "--out", str(tmp_path / "out")])
    assert "6 of 6 runs failed" in line
    log = next((tmp_path / "out").glob("*/log.txt")).read_text()
    assert "cannot be started" in log


@pytest.mark.slow
def test_two_real_trainings(synthetic_dataset: Path, tmp_path: Path, capsys) -> None:
    names = (
        "base",
        "method/part_deformation",
        "head_model/anny",
        "data/synthetic",
        "scale/smoke",
        "logger/wandb",
    )
    flags = {
        "data.reader.init_args.root": synthetic_dataset,
        "data.reader.init_args.frames": 24,
        "data.reader.init_args.size": 32,
        "model.avatar.sampler.init_args.cells": 32,
        "model.avatar.field.init_args.log2_table_size": 12,
        "trainer.accelerator": "cpu",
        "trainer.max_steps": 2,
        "trainer.val_check_interval": 2,
    }
    content = {
        "method": "grid",
        "metric": {"name": "val/head_psnr", "goal": "maximize"},
        "command": [
            *("${interpreter}", "-m", "partnerface", "fit", *config_arguments(*names)),
            *(f"--{name}={value}" for name, value in flags.items()),
            "${args}",
        ],
        "parameters": {"model.avatar.deformation.init_args.parts": {"values": [1, 4]}},
    }
    path, out = tmp_path / "parts.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(content))
    assert main(["sweep", str(path), "--out", str(out)]) == 0, capsys.readouterr().out
    for run in json.loads((out / "sweep.json").read_text())["runs"]:
        folder = out / run["folder"]
        saved = yaml.safe_load((folder / "config.yaml").read_text())
        deformation = saved["model"]["avatar"]["init_args"]["deformation"]["init_args"]
        assert deformation["parts"] == run["parameters"]["model.avatar.deformation.init_args.parts"]
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert 3 < run["value"] < 60
    assert sys.executable in (out / "sweep.json").read_text()
