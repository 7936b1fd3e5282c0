"""Sweep files of W&B are read; others are refused in one line that names the file."""

from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.runs.run_command import DEFAULT_COMMAND
from partnerface.sweeps.sweep_file import read_sweep

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
