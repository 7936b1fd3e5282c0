"""What is drawn, read back from the axes; frames are matched by their targets, whatever else strips hold."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from partnerface.benchmarks.methods.figures import (
    LARGEST_SIDE,
    changed_values,
    write_bars,
    write_curves,
    write_strips,
)
from partnerface.benchmarks.methods.method_results import MethodResults
from partnerface.files.images import write_image


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were saved."""
    figures: list[Figure] = []
    original = Figure.savefig

    def keep(figure: Figure, *args, **kwargs) -> None:
        figures.append(figure)
        original(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_bars(make_row, tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        *(make_row("ours", value, seed=seed) for seed, value in enumerate((26.0, 28.0))),
        make_row("slow", 13.0, split="unseen_expression_sample"),
        make_row("ours", 20.0, subject="me"),
    ]
    write_bars(tmp_path / "bars.png", MethodResults(rows, ["ours"]))
    # LPIPS is missing in all rows and has no panel.
    [panel] = drawn[0].axes
    bars = [
        (round(bar.get_x() + bar.get_width() / 2), bar.get_hatch(), bar.get_height())
        for bar in panel.patches
        if np.isfinite(bar.get_height())
    ]
    assert bars == [(0, None, 27.0), (1, None, 20.0), (0, "///", 13.0)]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["synthetic_a", "me"]
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_bars_of_the_true_motion(make_row, tmp_path: Path, drawn: list[Figure]) -> None:
    motion = {
        "mm_left": {"fine_face": 0.2},
        "mm_nothing": {"fine_face": 0.4},
        "fine_motion": {"psnr": 25.0, "ceiling_psnr": 27.0},
    }
    known = {"fine_motion": motion["fine_motion"] | {"counts": True}}
    rows = [
        make_row("ours", 26.0, split="larger", subject="synthetic_c", **motion),
        make_row("theirs", 26.0, split="larger", subject="synthetic_c", **(motion | known)),
        make_row("ours", 20.0),
    ]
    write_bars(tmp_path / "bars.png", MethodResults(rows, ["ours"]))
    panels = {panel.get_title(): panel for panel in drawn[0].axes}
    assert len(panels) == 2 * 3
    found = {}
    for title in ("larger: true motion left, mm", "larger: PSNR of fine motion, dB"):
        bars = [bar.get_height() for bar in panels[title].patches if np.isfinite(bar.get_height())]
        [level] = [line.get_segments()[0][0, 1] for line in panels[title].collections]
        found[title.split(": ")[1]] = (*bars, level)
    assert found == {"true motion left, mm": (0.2, 0.2, 0.4), "PSNR of fine motion, dB": (25.0, 25.0, 27.0)}
    # A score that is not known to count is pale, millimetres always count.
    for title, pale in (("true motion left, mm", [False, False]), ("PSNR of fine motion, dB", [True, False])):
        patches = [bar for bar in panels[f"larger: {title}"].patches if np.isfinite(bar.get_height())]
        assert [bar.get_alpha() is not None for bar in patches] == pale
    other = panels["unseen expression: true motion left, mm"]
    assert not any(np.isfinite(bar.get_height()) for bar in other.patches)


def test_curves_join_variants_of_one_value(make_row, tmp_path: Path, drawn: list[Figure]) -> None:
    scores = {"16": 27.0, "2": 25.0, "8": 28.0}
    rows = [make_row("ours", value, 0.1, overrides={"parts": parts}) for parts, value in scores.items()]
    rows += [make_row("ours", 29.0, 0.1, overrides={"parts": "8"}, seed=1), make_row("ours", 1.0)]
    rows += [make_row("ours", 20.0, 0.1, overrides={"parts": p, "temperature": "0.5"}) for p in ("2", "8")]
    results = MethodResults(rows)
    assert changed_values(results) == {("ours", "parts"): [2.0, 8.0, 16.0]}
    write_curves(tmp_path / "curve.png", results, "ours", "parts")
    psnr, lpips = drawn[0].axes
    points = [container.lines[0].get_xydata().tolist() for container in psnr.containers]
    assert points == [[[2, 25], [8, 28.5], [16, 27]], [[2, 20], [8, 20]]]
    assert psnr.get_xscale() == "log"
    assert [text.get_text() for text in lpips.get_xticklabels()] == ["2", "8", "16"]


def test_curves_of_splits_that_were_tested_on_samples(make_row, tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        make_row("ours", value, 0.1, overrides={"parts": parts}, split=split)
        for parts, value in (("2", 25.0), ("8", 28.0))
        for split in ("larger_sample", "temporal", "train")
    ]
    write_curves(tmp_path / "curve.png", MethodResults(rows), "ours", "parts")
    panels = {panel.get_title().split(":")[0]: panel for panel in drawn[0].axes}
    assert panels.keys() == {"larger", "temporal"}
    for panel in drawn[0].axes[::2]:
        assert [c.lines[0].get_xydata().tolist() for c in panel.containers] == [[[2, 25], [8, 28]]]


def test_words_and_single_values_make_no_curve(make_row) -> None:
    rows = [make_row("ours", 1.0, overrides={"placement": place}) for place in ("landmarks", "farthest")]
    rows += [make_row("ours", 1.0, overrides={"parts": "8"})]
    assert changed_values(MethodResults(rows)) == {}


SIZE = 8


def _frame(value: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def _write_strip(folder: Path, frames: list[int], render: int) -> None:
    folder.mkdir(parents=True)
    lines = [np.concatenate([_frame(v) for v in (frame, render + frame, 7, 9, 9)], 1) for frame in frames]
    write_image(folder / "strip.png", np.concatenate(lines))


def _columns(figure: Figure) -> dict[str, np.ndarray]:
    """Pictures of a figure by title."""
    return {panel.get_title(): panel.images[0].get_array().data for panel in figure.axes}


def test_frames_that_all_methods_have(make_row, tmp_path: Path, drawn: list[Figure]) -> None:
    _write_strip(tmp_path / "ours-run", [1, 2, 3], 100)
    _write_strip(tmp_path / "slow-run", [4, 3, 1], 200)
    _write_strip(tmp_path / "later", [1], 0)
    small = {"resolution": [SIZE, SIZE]}
    rows = [make_row("ours", 1.0, seed=1, run="later", **small), make_row("ours", 1.0, **small)]
    rows += [make_row("slow", 1.0, split="unseen_expression_sample", **small), make_row("none", 1.0, **small)]
    assert write_strips(tmp_path / "strips.png", tmp_path, MethodResults(rows, ["ours"]), "synthetic_a")
    values = {name: column[::SIZE, 0, 0].tolist() for name, column in _columns(drawn[0]).items()}
    assert values == {
        "target": [1, 3],
        "ours": [101, 103],
        "ours error": [7, 7],
        "slow": [201, 203],
        "slow error": [7, 7],
    }
    assert (tmp_path / "strips.png").is_file()


def test_large_frames_are_thinned(make_row, tmp_path: Path, drawn: list[Figure]) -> None:
    size = 2 * LARGEST_SIDE
    (tmp_path / "ours-run").mkdir()
    write_image(tmp_path / "ours-run" / "strip.png", np.zeros((size, 4 * size, 3), np.uint8))
    results = MethodResults([make_row("ours", 1.0, resolution=[size, size])])
    assert write_strips(tmp_path / "strips.png", tmp_path, results, "synthetic_a")
    assert _columns(drawn[0])["target"].shape == (LARGEST_SIDE, LARGEST_SIDE, 3)


def test_nothing_to_show(make_row, tmp_path: Path) -> None:
    path = tmp_path / "strips.png"
    results = MethodResults([make_row("ours", 1.0, resolution=[SIZE, SIZE])])
    assert not write_strips(path, tmp_path, results, "synthetic_a")
    assert not write_strips(path, tmp_path, results, "me")
    assert not path.exists()
