"""docs/driving.md: its Python runs, its table of keys is the reader's."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partnerface.data.drivers.table import SHAPES
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.files.downloads import FACE_LANDMARKER, stored_file
from partnerface.files.videos import write_video
from partnerface.head_models.anny import AnnyHead

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


@pytest.mark.skipif(
    stored_file(FACE_LANDMARKER.name) is None,
    reason=f"{FACE_LANDMARKER.name} is neither in the folder PARTNERFACE_ASSETS nor in the cache",
)
def test_the_live_example_runs(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/demo").symlink_to(trained_run)
    renderer = SubjectRenderer(AnnyHead(), subject_named("a"), 3, 128, seed=0)
    write_video(tmp_path / "clip.mp4", [renderer.render(frame).image for frame in range(3)], 10)
    monkeypatch.chdir(tmp_path)
    example = next(code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "LivePerformer" in code)
    names: dict = {}
    exec(example, names)
    assert names["picture"].to_bytes().shape == (192, 192, 3)


def test_the_keys_of_a_table() -> None:
    table = PAGE.split("## Tables")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == [
        *("expression", "names", "neutral", "head_degrees", "rotation", "translation", "eye_degrees", "fps")
    ]
    assert set(SHAPES) == set(re.findall(r"^\| `(\w+)` \|", table, re.M))
