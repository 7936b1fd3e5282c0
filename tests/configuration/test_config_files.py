"""Shipped configuration files are found from anywhere."""

import json
from pathlib import Path

import pytest

from partnerface.configuration.config_files import (
    CONFIGS,
    SHIPPED,
    config_arguments,
    config_file,
    paths_as_text,
    resolve_config_paths,
    shipped_instead,
)
from partnerface.errors import UserError
from partnerface.sweeps.sweep_file import read_sweep


def test_the_packages_configs_are_the_top_level_ones() -> None:
    top = Path(__file__).parents[2] / "configs"
    assert {p.relative_to(CONFIGS) for p in CONFIGS.rglob("*.yaml")} == {
        p.relative_to(top) for p in top.rglob("*.yaml")
    }


def test_arguments_keep_their_order() -> None:
    arguments = config_arguments("base", "scale/smoke")
    assert arguments[::2] == ["--config", "--config"]
    assert [Path(a).name for a in arguments[1::2]] == ["base.yaml", "smoke.yaml"]


def test_a_file_in_the_working_directory_goes_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_config_paths(["--config", "configs/base.yaml"]) == ["--config", str(CONFIGS / "base.yaml")]
    assert resolve_config_paths(["--config=configs/base.yaml"]) == [f"--config={CONFIGS / 'base.yaml'}"]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text("{}")
    assert resolve_config_paths(["--config", "configs/base.yaml"]) == ["--config", "configs/base.yaml"]


def test_other_arguments_are_left_alone() -> None:
    arguments = ["--run_dir", "configs/base.yaml", "--trainer.max_steps=3"]
    assert resolve_config_paths(arguments) == arguments


def test_names_what_is_missing() -> None:
    with pytest.raises(UserError, match="method/none"):
        config_file("method/none")
    with pytest.raises(UserError, match=r"configs/none\.yaml: no such file"):
        resolve_config_paths(["--config", "configs/none.yaml"])


def test_sweep_files_come_with_the_package(tmp_path: Path, monkeypatch) -> None:
    """A wheel had none, and the README names them."""
    top = Path(__file__).parents[2] / "sweeps"
    assert {p.name for p in SHIPPED["sweeps"].iterdir()} == {p.name for p in top.iterdir()}
    monkeypatch.chdir(tmp_path)
    name = Path("sweeps/num_parts.yaml")
    assert read_sweep(shipped_instead(name)).name == read_sweep(top / name.name).name
    name.parent.mkdir()
    name.write_text("method: grid")
    assert shipped_instead(name) == name
    assert shipped_instead(Path("sweeps/none.yaml")) == Path("sweeps/none.yaml")


@pytest.mark.parametrize("name", ["me: take 2", "#1", "- a", "[a]", "&x"])
def test_a_path_that_is_no_text_in_yaml_arrives_as_it_is(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = {"data": {"reader": {"init_args": {"root": name}}}}
    for words in (
        [f"--data.reader.root={name}"],
        ["--data.reader.root", name],
        [f"--data.reader.init_args.root={name}"],
    ):
        [given] = paths_as_text(words)
        assert json.loads(given.removeprefix("--config=")) == table
    # Other keys where there is a file of that name.
    words = ["fit", "--data.driver.init_args.path", name, "--run_dir", name]
    assert paths_as_text(words) == words
    (tmp_path / name).touch()
    _, given, *rest = paths_as_text(words)
    assert json.loads(given.removeprefix("--config=")) == {"data": {"driver": {"init_args": {"path": name}}}}
    assert rest == ["--run_dir", name]


def test_other_values_stay_as_they_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "10").touch()
    words = ["fit", "--trainer.max_steps=10", "--data.test_splits=[a]", "--data.reader.root", "datasets/me"]
    words += ["--trainer.callbacks+={class_path: mine.Mine}", "--config", "a: b.yaml", "--data.seed", "10"]
    assert paths_as_text(words) == words
