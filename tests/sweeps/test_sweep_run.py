"""Commands are those that W&B's own agent builds."""

import shlex
from pathlib import Path

import pytest
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.errors import UserError
from partnerface.runs.run import LAST_CHECKPOINT
from partnerface.sweeps.sweep_file import read_sweep
from partnerface.sweeps.sweep_run import (
    DEFAULT_COMMAND,
    SweepRun,
    check_macros,
    expand_command,
    trains_an_avatar,
)

PARAMETERS = {"a.b": 3, "lr": 1e-05, "on": True, "off": False, "name": "two words", "list": [1, 2]}
MACROS = (
    "args",
    "args_no_hyphens",
    "args_no_equals",
    "args_no_boolean_flags",
    "args_append_hydra",
    "args_override_hydra",
    "args_json",
)


def _agents(words: list[str], program: str) -> list[str]:
    """As `wandb.wandb_agent.Agent` puts the command together from the same functions."""
    values = create_sweep_command_args({"args": {k: {"value": v} for k, v in PARAMETERS.items()}})
    values |= {"interpreter": ["python"], "program": [program], "env": ["/usr/bin/env"]}
    expanded = []
    for word in create_sweep_command(list(words)):
        is_macro = word.startswith("${") and word.endswith("}")
        expanded += values[word[2:-1]] if is_macro else [word]
    return expanded


@pytest.mark.parametrize("macro", MACROS)
def test_every_macro_as_the_agent_expands_it(macro: str) -> None:
    words = ["${env}", "${interpreter}", "${program}", "-x", "${%s}" % macro, "end"]  # noqa: UP031
    assert expand_command(words, "p.py", PARAMETERS, "python") == _agents(words, "p.py")


def test_the_default_command() -> None:
    assert expand_command(DEFAULT_COMMAND, "p.py", PARAMETERS, "python") == _agents([], "p.py")


def test_environment_variables_may_be_part_of_a_word(monkeypatch) -> None:
    monkeypatch.setenv("DATA_ROOT", "/data")
    monkeypatch.delenv("NOT_SET", raising=False)
    words = ["${envvar:DATA_ROOT}", "--root=${envvar:DATA_ROOT}/a/${envvar:NOT_SET}"]
    assert expand_command(words, None, {}) == ["/data", "--root=/data/a/NOT_SET"] == _agents(words, "")


def test_an_unknown_macro_is_refused() -> None:
    with pytest.raises(UserError, match=r"no macro \$\{args_json_file\}; there are \$\{env\}, "):
        check_macros(["${env}", "${args_json_file}"])
    check_macros(["${env}", "${envvar:HOME}", "x${envvar:HOME}y", "{args}", "$args"])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/bin/env partnerface fit --config a.yaml", True),
        ("/opt/bin/partnerface fit", True),
        ("python -m partnerface fit", True),
        ("partnerface test --x fit", False),
        ("python train.py fit partnerface", False),
        ("", False),
    ],
)
def test_trainings_are_recognised(command: str, expected: bool) -> None:
    assert trains_an_avatar(shlex.split(command)) is expected


def test_a_number_that_yaml_reads_as_text_is_the_learning_rate(
    smoke_arguments: list[str], tmp_path: Path
) -> None:
    """``1e-3`` lacks the decimal point that YAML 1.1 asks for."""
    path, name = tmp_path / "rates.yaml", "model.learning_rates.grids"
    path.write_text(
        "{program: partnerface, method: grid, metric: {name: val/psnr}, command: ['${args}'],"
        f" parameters: {{{name}: {{values: [1e-3]}}}}}}"
    )
    sweep = read_sweep(path)
    (values,) = sweep.combinations()
    assert values == {name: "1e-3"}
    flags = expand_command(sweep.command, sweep.program, values)
    cli = AvatarCLI(["fit", *smoke_arguments, *flags, f"--run_dir={tmp_path / 'run'}"], execute=False)
    rates = {group["name"]: group["lr"] for group in cli.model.configure_optimizers().param_groups}
    assert (type(rates["grids"]), rates["grids"]) == (float, 0.001)


def test_training_is_given_its_folder_and_its_checkpoint(tmp_path: Path) -> None:
    fit = ["/usr/bin/env", "partnerface", "fit", "--a=1"]
    run = SweepRun(tmp_path / "r", {}, "loss", tuple(fit))
    assert run.remaining_command == [*fit, "--run_dir", str(run.folder)]
    (run.folder / LAST_CHECKPOINT).parent.mkdir(parents=True)
    (run.folder / LAST_CHECKPOINT).touch()
    assert run.remaining_command == [*fit, "--run_dir", str(run.folder), "--ckpt_path", "last"]
    other = SweepRun(run.folder, {}, "loss", ("python", "train.py"))
    assert other.remaining_command == ["python", "train.py"]
