"""The README's Python draws a picture from a checkpoint alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_six_lines_draw_the_avatar_without_its_dataset(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lines] = re.findall(r"```python\n(.*?)```", README, re.S)
    checkpoint = tmp_path / re.search(r'"(runs/demo/.*?\.ckpt)"', lines).group(1)
    checkpoint.parent.mkdir(parents=True)
    shutil.copy(trained_run / "checkpoints/last.ckpt", checkpoint)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    picture = np.asarray(Image.open(tmp_path / "avatar.png").convert("RGB"), float)
    # A person before a plain wall: something is drawn, and not everywhere.
    assert picture.std() > 5
    assert picture.shape[:2] == (32, 32)
