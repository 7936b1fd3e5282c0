"""docs/datasets.md: its Python runs, its formats are those that are read."""

import re
from pathlib import Path

import pytest

from partnerface.data.formats.auto import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()


def test_the_example_projects_a_head(
    synthetic_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/me").symlink_to(synthetic_dataset)
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.S)[0], {})
    name, column, row = re.match(r"(\d+) tensor\(\[ *([\d.]+), *([\d.]+)", capsys.readouterr().out).groups()
    assert name == "00000"
    assert 8 < float(column) < 24
    assert 8 < float(row) < 28


def test_every_format_is_named() -> None:
    named = PAGE.split("chooses one of")[1].split("where a folder")[0]
    assert re.findall(r"`([a-z-]+)`", named) == ["partnerface", *(format_.name for format_ in FORMATS)]
