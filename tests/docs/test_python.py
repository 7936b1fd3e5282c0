"""The Python of the pages draws pictures from a checkpoint alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_six_lines_draw_the_avatar_without_its_dataset(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lines] = re.findall(r"```python\n(.*?)```", README, re.S)
    checkpoint = tmp_path / "runs/demo/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    shutil.copy(trained_run / "checkpoints/last.ckpt", checkpoint)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    picture = np.asarray(Image.open(tmp_path / "avatar.png").convert("RGB"), float)
    # A person before a plain wall: something is drawn, and not everywhere.
    assert picture.std() > 5
    assert picture.shape[:2] == (32, 32)


def test_the_examples_of_the_page_run_from_top_to_bottom(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    assert len(blocks) == 6
    shutil.copytree(trained_run, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert "jawOpen" in capsys.readouterr().out
    pictures = {path.stem: np.asarray(Image.open(path), float) for path in tmp_path.glob("*.png")}
    assert pictures["cut_out"].shape == names["rgba"].shape == (96, 96, 4)
    assert names["depth"].shape == (96, 96)
    assert names["normals"].shape == (3, 96, 96)
    # Each change changes the picture, and the orbit starts where the camera is.
    for name in ("smiling", "turned", "on_blue", "orbit_1", "orbit_2"):
        assert np.abs(pictures[name] - pictures["neutral"]).max() > 20, name
    assert np.abs(pictures["orbit_0"] - pictures["neutral"]).max() <= 3
