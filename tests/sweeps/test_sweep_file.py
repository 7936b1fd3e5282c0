"""Sweep files of W&B are read, others refused in one line; their runs are those of itertools."""

import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.sweeps.parameter_choice import parameter_choice
from partnerface.sweeps.sweep_file import Sweep, parameter_digest, read_sweep
from partnerface.sweeps.sweep_run import DEFAULT_COMMAND

LEAST = {
    "program": "train.py",
    "method": "grid",
    "metric": "{name: loss}",
    "parameters": "{a: {values: [1, 2]}}",
}


def _written(folder: Path, head: str = "", **changes: str | None) -> Path:
    path = folder / "question.yaml"
    entries = {**LEAST, **changes}
    path.write_text(head + "".join(f"{k}: {v}\n" for k, v in entries.items() if v is not None))
    return path


def test_defaults_are_those_of_wandb(tmp_path: Path) -> None:
    sweep = read_sweep(_written(tmp_path))
    assert (sweep.name, sweep.question, sweep.maximize) == ("question", "", False)
    assert sweep.command == DEFAULT_COMMAND
    assert sweep.program == "train.py"
    assert sweep.parameters[0].options == (1, 2)


def test_the_first_comment_is_the_question(tmp_path: Path) -> None:
    path = _written(tmp_path, "# How many?\n# more\n", name="n", command='[a, 3, "${args}"]', run_cap="4")
    sweep = read_sweep(path)
    assert (sweep.question, sweep.name, sweep.run_cap) == ("How many?", "n", 4)
    assert sweep.command == ("a", "3", "${args}")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"method": "bayes"}, "method bayes: choose grid or random"),
        ({"method": "gird"}, "method gird"),
        ({"method": None}, "method is missing"),
        ({"parameters": None}, "parameters: missing"),
        ({"parameters": "{}"}, "parameters: missing"),
        ({"parameters": "[a]"}, "parameters: missing"),
        ({"parameters": "{a: {min: 1, max: 2}}"}, "a: a grid needs values"),
        ({"parameters": "{a: {values: 1}}"}, "a: values must be a list"),
        ({"metric": None}, "metric: missing"),
        ({"metric": "loss"}, "metric: missing"),
        ({"metric": "{name: loss, goal: up}"}, "goal 'up'"),
        ({"metric": "{name: loss, target: 3}"}, "metric: unknown key 'target'"),
        ({"paramaters": "{}"}, "unknown key 'paramaters'; did you mean 'parameters'?"),
        ({"early_terminate": "{type: hyperband}"}, "early_terminate: needs a W&B server"),
        ({"run_cap": "0"}, "run_cap 0"),
        ({"command": "train"}, "command: must be a list"),
        ({"command": "[[a]]"}, "command: must be a list"),
        ({"command": '["${arguments}"]'}, "no macro ${arguments}"),
        ({"program": None}, "program: missing"),
        ({"name": "[1"}, "not YAML"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, changes: dict, part: str) -> None:
    path = _written(tmp_path, **changes)
    with pytest.raises(UserError) as refused:
        read_sweep(path)
    assert str(refused.value).startswith(f"sweep {path}: ")
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"text", b"- 1", b"\xff\xfe\x00"])
def test_files_that_are_no_sweep(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^sweep .*x\.yaml: ") as refused:
        read_sweep(path)
    assert "\n" not in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_sweep(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_sweep(tmp_path)


def _sweep(method: str, parameters: dict, cap: int | None = None) -> Sweep:
    choices = tuple(parameter_choice(name, entry) for name, entry in parameters.items())
    return Sweep("s", "", method, "loss", False, choices, ("${args}",), None, cap)


LISTS = {"a": [1, 2, 3], "b.c": ["x", True], "seed": [0, 1]}
GRID = {name: {"values": values} for name, values in LISTS.items()}


def test_a_grid_is_the_product_in_the_order_of_the_file() -> None:
    expected = [dict(zip(LISTS, row, strict=True)) for row in itertools.product(*LISTS.values())]
    assert _sweep("grid", GRID).combinations() == expected
    assert _sweep("grid", GRID).combinations(count=5) == expected[:5]
    assert _sweep("grid", GRID, cap=4).combinations(count=5) == expected[:4]
    assert _sweep("grid", GRID).combinations(count=99) == expected


def test_a_value_that_is_listed_twice_runs_once() -> None:
    assert _sweep("grid", {"a": {"values": [1, 2, 1]}}).combinations() == [{"a": 1}, {"a": 2}]
    # Equal for Python, but not on the command line.
    assert len(_sweep("grid", {"a": {"values": [1, True, 1.0]}}).combinations()) == 3


def test_random_is_repeatable_and_a_larger_count_keeps_the_first() -> None:
    sweep = _sweep("random", {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 3}, "v": {"value": "k"}})
    few, many = sweep.combinations(5, seed=3), sweep.combinations(50, seed=3)
    assert few == many[:5] == sweep.combinations(5, seed=3)
    assert few != sweep.combinations(5, seed=4)
    assert {row["v"] for row in many} == {"k"}
    assert len({row["x"] for row in many}) == 50
    assert set(Counter(row["n"] for row in many)) == {1, 2, 3}


def test_few_combinations_are_all_met_once() -> None:
    drawn = _sweep("random", GRID).combinations(100)
    assert len(drawn) == 12
    assert sorted(map(str, drawn)) == sorted(map(str, _sweep("grid", GRID).combinations()))


def test_random_needs_an_end() -> None:
    endless = _sweep("random", GRID)
    with pytest.raises(UserError, match="--count"):
        endless.combinations()
    assert len(replace(endless, run_cap=3).combinations()) == 3


def test_digests_ignore_order_and_nothing_else() -> None:
    assert parameter_digest({"a": 1, "b": 2}) == parameter_digest({"b": 2, "a": 1})
    rows = [{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": 1, "b": 1}, {}]
    assert len({parameter_digest(row) for row in rows}) == len(rows)


def test_digests_are_the_same_in_another_process() -> None:
    code = "from partnerface.sweeps.sweep_file import parameter_digest as d; print(d({'a': 'x', 'b': 0.1}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == parameter_digest({"b": 0.1, "a": "x"})
