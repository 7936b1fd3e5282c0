"""docs/driving.md: its Python runs, its table of keys is the reader's."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partnerface.data.drivers.table import SHAPES

PAGE = (Path(__file__).parents[2] / "docs" / "driving.md").read_text()


def test_the_example_draws_the_avatar_talking(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0]
    checkpoint = tmp_path / "runs/demo/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    shutil.copy(trained_run / "checkpoints/last.ckpt", checkpoint)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert np.asarray(Image.open(tmp_path / "talking.png").convert("RGB"), float).std() > 5


def test_the_keys_of_a_table() -> None:
    table = PAGE.split("## Tables")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == [
        *("expression", "names", "neutral", "head_degrees", "rotation", "translation", "eye_degrees", "fps")
    ]
    assert set(SHAPES) == set(re.findall(r"^\| `(\w+)` \|", table, re.M))
