"""Every sweep is valid for W&B, and its command is one that the command line takes."""

import itertools
from pathlib import Path

import pytest
import yaml

from partnerface.cli.main import main

SWEEPS = sorted((Path(__file__).parents[1] / "sweeps").glob("*.yaml"))


def _load(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def _agents_command(sweep: dict, values: dict[str, object]) -> list[str]:
    """The command as `wandb agent` builds it: `${args}` becomes one `--key=value` a parameter."""
    arguments = [f"--{key}={value}" for key, value in values.items()]
    words = [w for word in sweep["command"] for w in (arguments if word == "${args}" else [word])]
    return [word for word in words if word != "${env}"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_schema(path: Path) -> None:
    sweep = _load(path)
    assert sweep["name"] == path.stem
    assert sweep["project"] == sweep["program"] == "partnerface"
    assert sweep["method"] in ("grid", "random", "bayes")
    assert sweep["metric"]["goal"] in ("maximize", "minimize")
    assert sweep["command"][-1] == "${args}"
    for key, choice in sweep["parameters"].items():
        assert "parameters" not in choice, f"{key}: parameter names are flat dotted keys"
        assert "values" in choice or sweep["method"] != "grid"
        assert choice.get("distribution") != "log_uniform", "takes exponents: log_uniform_values is meant"
        assert None not in choice.get("values", []), 'W&B passes None: write "null"'


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_opens_with_its_question(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert "?" in first


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_the_command_parses_at_the_first_and_last_value(path: Path, capsys) -> None:
    sweep = _load(path)
    for place in (0, -1):
        values = {key: choice["values"][place] for key, choice in sweep["parameters"].items()}
        command = _agents_command(sweep, values)
        assert command[0] == "partnerface"
        with pytest.raises(SystemExit) as ended:
            main([*command[1:], "--print_config"])
        assert ended.value.code == 0
        config = yaml.safe_load(capsys.readouterr().out)
        for key, value in values.items():
            found = config
            for name in key.split("."):
                # The printed configuration names Avatar's class, which keys need not.
                found = found[name] if name in found else found["init_args"][name]
            assert found == value, key


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_runs_log_to_wandb_the_metric_that_is_optimised(path: Path, trained_run: Path) -> None:
    sweep = _load(path)
    assert "configs/logger/wandb.yaml" in sweep["command"]
    logged = {line.split(",")[2] for line in (trained_run / "metrics.csv").read_text().splitlines()[1:]}
    assert sweep["metric"]["name"] in logged


def test_no_two_sweeps_ask_the_same() -> None:
    grids = [tuple(sorted(_load(path)["parameters"])) for path in SWEEPS]
    assert all(a != b for a, b in itertools.combinations(grids, 2))
