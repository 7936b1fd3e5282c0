"""What is drawn, read back from the axes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from partnerface.benchmarks.methods.figures import changed_values, write_bars, write_curves
from partnerface.benchmarks.methods.results import MethodResults


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


def test_words_and_single_values_make_no_curve(make_row) -> None:
    rows = [make_row("ours", 1.0, overrides={"placement": place}) for place in ("landmarks", "farthest")]
    rows += [make_row("ours", 1.0, overrides={"parts": "8"})]
    assert changed_values(MethodResults(rows)) == {}
