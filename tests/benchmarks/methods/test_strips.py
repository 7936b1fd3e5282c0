"""Frames are matched by their targets, whatever else the strips hold."""

from pathlib import Path

import numpy as np
import pytest

from partnerface.benchmarks.methods import strips as qualitative_strips
from partnerface.benchmarks.methods.results import MethodResults
from partnerface.benchmarks.methods.strips import LARGEST_SIDE, write_strips
from partnerface.files.images import write_image

SIZE = 8


def _frame(value: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def _write_strip(folder: Path, frames: list[int], render: int) -> None:
    folder.mkdir(parents=True)
    lines = [np.concatenate([_frame(v) for v in (frame, render + frame, 7, 9, 9)], 1) for frame in frames]
    write_image(folder / "strip.png", np.concatenate(lines))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    original = qualitative_strips._draw

    def keep(path: Path, found: dict[str, np.ndarray], title: str) -> None:
        columns.update(found)
        original(path, found, title)

    monkeypatch.setattr(qualitative_strips, "_draw", keep)
    return columns


def test_frames_that_all_methods_have(make_row, tmp_path: Path, drawn: dict) -> None:
    _write_strip(tmp_path / "ours-run", [1, 2, 3], 100)
    _write_strip(tmp_path / "slow-run", [4, 3, 1], 200)
    _write_strip(tmp_path / "later", [1], 0)
    small = {"resolution": [SIZE, SIZE]}
    rows = [make_row("ours", 1.0, seed=1, run="later", **small), make_row("ours", 1.0, **small)]
    rows += [make_row("slow", 1.0, split="unseen_expression_sample", **small), make_row("none", 1.0, **small)]
    assert write_strips(tmp_path / "strips.png", tmp_path, MethodResults(rows, ["ours"]), "synthetic_a")
    values = {name: column[::SIZE, 0, 0].tolist() for name, column in drawn.items()}
    assert values == {
        "target": [1, 3],
        "ours": [101, 103],
        "ours error": [7, 7],
        "slow": [201, 203],
        "slow error": [7, 7],
    }
    assert (tmp_path / "strips.png").is_file()


def test_large_frames_are_thinned(make_row, tmp_path: Path, drawn: dict) -> None:
    size = 2 * LARGEST_SIDE
    (tmp_path / "ours-run").mkdir()
    write_image(tmp_path / "ours-run" / "strip.png", np.zeros((size, 4 * size, 3), np.uint8))
    results = MethodResults([make_row("ours", 1.0, resolution=[size, size])])
    assert write_strips(tmp_path / "strips.png", tmp_path, results, "synthetic_a")
    assert drawn["target"].shape == (LARGEST_SIDE, LARGEST_SIDE, 3)


def test_nothing_to_show(make_row, tmp_path: Path) -> None:
    path = tmp_path / "strips.png"
    results = MethodResults([make_row("ours", 1.0, resolution=[SIZE, SIZE])])
    assert not write_strips(path, tmp_path, results, "synthetic_a")
    assert not write_strips(path, tmp_path, results, "me")
    assert not path.exists()
