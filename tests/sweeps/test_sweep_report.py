"""The report's files, read back with other readers."""

import csv
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.runs.engine import locked
from partnerface.sweeps.parameter_choice import parameter_choice
from partnerface.sweeps.sweep_file import Sweep
from partnerface.sweeps.sweep_report import check_folder, runs_table, settings_table, write_report
from partnerface.sweeps.sweep_run import SweepRun, expand_command

WORDS = ("${env}", "partnerface", "fit", "--config", "a b.yaml", "${args}")


def _run(folder: Path, parameters: dict) -> SweepRun:
    return SweepRun(folder, parameters, "val/psnr", tuple(expand_command(WORDS, None, parameters)))


@pytest.fixture
def runs(tmp_path: Path) -> list[SweepRun]:
    made = [
        _run(tmp_path / f"r{place}", {"m.parts": parts, "seed": seed})
        for place, (parts, seed) in enumerate([(4, 0), (4, 1), (8, 0), (8, 1), (16, 0)])
    ]
    for run, value in zip(made[:3], (20.0, 21.0, 25.0), strict=True):
        run.prepare()
        (run.folder / "metrics.csv").write_text(f"step,seconds,name,value\n1,1,val/psnr,{value}\n")
        run.add_attempt(0, 1.5)
    made[3].prepare()
    made[3].add_attempt(2, 0.5)
    return made


def _sweep(maximize: bool) -> Sweep:
    choices = (
        parameter_choice("m.parts", {"values": [4, 8, 16]}),
        parameter_choice("seed", {"values": [0, 1]}),
    )
    return Sweep("s", "How many?", "grid", "val/psnr", maximize, choices, WORDS, None, None)


def test_json_holds_every_run_and_how_to_repeat_it(runs: list[SweepRun], tmp_path: Path) -> None:
    write_report(tmp_path, _sweep(True), runs, {"commit": "abc", "command": "partnerface sweep s"})
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert (found["question"], found["commit"]) == ("How many?", "abc")
    assert found["metric"] == {"name": "val/psnr", "goal": "maximize"}
    assert [run["state"] for run in found["runs"]] == ["finished"] * 3 + ["failed", "waiting"]
    assert [run["value"] for run in found["runs"]] == [20, 21, 25, None, None]
    assert found["runs"][3]["reason"] == "exit code 2"
    assert shlex.split(found["runs"][1]["run_command"]) == [
        *("/usr/bin/env", "partnerface", "fit", "--config", "a b.yaml", "--m.parts=4", "--seed=1"),
    ]
    assert [row["parameters"]["m.parts"] for row in found["settings"]] == [8, 4]
    assert [row["mean"] for row in found["settings"]] == [25, 20.5]
    assert found["settings"][1]["spread"] == pytest.approx(0.5**0.5)


def test_less_is_better_where_the_sweep_says_so(runs: list[SweepRun], tmp_path: Path) -> None:
    write_report(tmp_path, _sweep(False), runs, {})
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["mean"] for row in found["settings"]] == [20.5, 25]


def test_csv(runs: list[SweepRun], tmp_path: Path) -> None:
    write_report(tmp_path, _sweep(True), runs, {})
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[2] == {
        **{"m.parts": "8", "seed": "0", "val/psnr": "25.0"},
        **{"seconds": "1.5", "state": "finished", "folder": "r2"},
    }
    assert [row["val/psnr"] for row in rows] == ["20.0", "21.0", "25.0", "", ""]
    assert not list(tmp_path.glob(".*.partial"))


def test_tables(runs: list[SweepRun]) -> None:
    table = runs_table(_sweep(True), runs)
    assert table.titles == ["parts", "seed", "val/psnr", "seconds", "folder"]
    assert [row[2] for row in table.rows] == ["20", "21", "25", "failed", "waiting"]
    best = settings_table(_sweep(True), runs)
    assert [row[:2] for row in best.rows] == [["8", "25"], ["4", "20.5"]]


def test_a_new_or_empty_folder_will_do(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", _sweep(True))
    with locked(tmp_path):
        check_folder(tmp_path, _sweep(True))


def test_other_files_and_other_commands(tmp_path: Path) -> None:
    sweep = _sweep(True)
    write_report(tmp_path, sweep, [_run(tmp_path / "r", {"a": 1})], {})
    check_folder(tmp_path, replace(sweep, metric="psnr", maximize=False))
    with pytest.raises(UserError, match="holds runs of another command"):
        check_folder(tmp_path, replace(sweep, command=("b", "${args}")))
    for torn in ("{", "[]", "3"):
        (tmp_path / "sweep.json").write_text(torn)
        with pytest.raises(UserError, match=r"sweep.json: .*remove the folder"):
            check_folder(tmp_path, sweep)
    (tmp_path / "sweep.json").unlink()
    with pytest.raises(UserError, match="holds other files"):
        check_folder(tmp_path, sweep)
