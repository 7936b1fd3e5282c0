"""Every sweep is valid for W&B and for us, and its command is one that the command line takes."""

import itertools
from pathlib import Path

import pytest
import yaml

from partnerface.benchmarks.methods.run import CPU_BUDGET
from partnerface.cli.main import main
from partnerface.configuration.config_files import CONFIGS
from partnerface.sweeps.sweep_file import read_sweep
from partnerface.sweeps.sweep_run import expand_command, trains_an_avatar

SWEEPS = sorted((Path(__file__).parents[1] / "sweeps").glob("*.yaml"))


def _load(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def _parsed(path: Path, place: int, capsys) -> tuple[dict[str, object], dict]:
    """Parameters of a run, and the configuration that its command leads to."""
    sweep = read_sweep(path)
    values = sweep.combinations()[place]
    command = expand_command(sweep.command, sweep.program, values)
    program = command.index("partnerface")
    assert command[:program] in (["/usr/bin/env"], ["/usr/bin/env", "OMP_NUM_THREADS=1"])
    with pytest.raises(SystemExit) as ended:
        main([*command[program + 1 :], "--print_config"])
    assert ended.value.code == 0
    return values, yaml.safe_load(capsys.readouterr().out)


def test_the_questions_are_there() -> None:
    names = {path.stem for path in SWEEPS}
    assert {"num_parts", "temperature", "parts_by_temperature", "baselines", "masks", "conditions"} <= names


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_schema(path: Path) -> None:
    content, sweep = _load(path), read_sweep(path)
    assert content["name"] == path.stem
    assert content["project"] == content["program"] == "partnerface"
    assert content["metric"]["goal"] in ("maximize", "minimize")
    assert content["command"].count("${args}") == 1
    assert len(content["parameters"]["seed_everything"]["values"]) >= 2
    assert trains_an_avatar(expand_command(sweep.command, sweep.program, {}))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_opens_with_its_question(path: Path) -> None:
    assert "?" in read_sweep(path).question
    assert f"wandb sweep sweeps/{path.name}" in path.read_text()
    assert f"partnerface sweep sweeps/{path.name}" in path.read_text()


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_the_command_parses_at_the_first_and_last_combination(path: Path, place: int, capsys) -> None:
    values, config = _parsed(path, place, capsys)
    assert "WandbLogger" in config["trainer"]["logger"]["class_path"]
    for key, value in values.items():
        if value.__class__ is str and value.startswith("configs/data/"):
            wanted = yaml.safe_load((CONFIGS.parent / value).read_text())["data"]["reader"]["init_args"]
            assert wanted.items() <= config["data"]["reader"]["init_args"].items()
            continue
        if key == "config":
            wanted = yaml.safe_load((CONFIGS.parent / value).read_text())["model"]["avatar"]
            chosen = config["model"]["avatar"]
            assert chosen["class_path"] == wanted["class_path"]
            if "deformation" in wanted["init_args"]:
                kind = wanted["init_args"]["deformation"]["class_path"]
                assert chosen["init_args"]["deformation"]["class_path"] == kind
            assert chosen["init_args"]["head_model"]["class_path"].endswith("AnnyHead")
            continue
        found = config
        for name in key.split("."):
            # The printed configuration names Avatar's class, which keys need not.
            found = found[name] if name in found else found["init_args"][name]
        assert found == value, key


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_the_budget_is_fixed_and_spent_on_training_alone(path: Path, capsys) -> None:
    """What a sweep compares is measured after the budget, on all test splits; previews would take from it."""
    trainer = _parsed(path, 0, capsys)[1]["trainer"]
    by_steps = trainer["max_time"] is None and trainer["val_check_interval"] == trainer["max_steps"]
    by_clock = trainer["max_time"] is not None and trainer["max_steps"] >= 20000
    budgets = [c["init_args"]["seconds"] for c in trainer["callbacks"] if c["class_path"] == CPU_BUDGET]
    by_cpu = trainer["max_time"] is None and trainer["max_steps"] == -1 and budgets == [300]
    assert by_steps or by_clock or by_cpu
    assert trainer["limit_val_batches"] == 0


def test_baselines_holds_every_method_that_has_offsets() -> None:
    path = next(path for path in SWEEPS if path.stem == "baselines")
    methods = {f"configs/method/{file.name}" for file in (CONFIGS / "method").glob("*.yaml")}
    methods.remove("configs/method/nerface.yaml")
    assert set(_load(path)["parameters"]["config"]["values"]) == methods


def test_no_two_sweeps_ask_the_same() -> None:
    grids = [tuple(sorted(_load(path)["parameters"])) for path in SWEEPS]
    assert all(a != b for a, b in itertools.combinations(grids, 2))
