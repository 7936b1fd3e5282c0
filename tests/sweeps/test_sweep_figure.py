"""The figure shows what was measured: read back from the axes that are drawn."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from partnerface.runs.results import SeedScores
from partnerface.sweeps.sweep_report import mean_map, options, write_sweep_figure
from partnerface.sweeps.sweep_run import Setting


@pytest.fixture
def drawn(monkeypatch, tmp_path: Path):
    """Draws settings; returns the figure."""
    kept: list[Figure] = []
    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), original(self, *a, **k)))

    def draw(settings: list[Setting]) -> Figure:
        write_sweep_figure(tmp_path / "s.png", settings, "val/psnr", "How many?")
        assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
        return kept[-1]

    return draw


def _setting(parameters: dict, *values: float) -> Setting:
    return Setting(parameters, SeedScores(values))


def _bars(container) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, means and spreads of an error bar."""
    line, _, (segments,) = container.lines
    ends = np.array([s[:, 1] for s in segments.get_segments()])
    return np.asarray(line.get_xdata(), float), line.get_ydata(), (ends[:, 1] - ends[:, 0]) / 2


def test_one_parameter(drawn) -> None:
    settings = [_setting({"m.parts": p}, p + 1.0, p + 3.0) for p in (16, 4, 1)]
    (panel,) = drawn(settings).axes
    x, means, spreads = _bars(panel.containers[0])
    assert x.tolist() == [1, 4, 16]
    assert means == pytest.approx([3, 6, 18])
    assert spreads == pytest.approx([np.sqrt(2)] * 3)
    assert panel.get_xscale() == "log"
    assert panel.get_xlabel() == "parts"
    assert len(panel.collections[-1].get_offsets()) == 6


def test_two_parameters_have_a_map(drawn) -> None:
    rows = {(p, t): p + 10 * t for p in (4, 16, 8) for t in (0.5, 0.1)}
    settings = [
        _setting(
            {"a.p": p, "a.t": t},
            v,
        )
        for (p, t), v in rows.items()
    ]
    left, middle, right, bar = drawn(settings).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["t 0.1", "t 0.5"]
    assert [text.get_text() for text in middle.get_legend().get_texts()] == ["p 4", "p 8", "p 16"]
    shown = right.images[0].get_array()
    expected = [[rows[p, t] for t in (0.1, 0.5)] for p in (4, 8, 16)]
    np.testing.assert_allclose(shown, expected)
    assert [text.get_text() for text in right.get_yticklabels()] == ["4", "8", "16"]
    assert bar.get_ylabel() == "val/psnr"


def test_a_hole_in_the_map_stays_one() -> None:
    settings = [
        _setting(
            {"a": 1, "b": 1},
            5.0,
        ),
        _setting(
            {"a": 2, "b": 2},
            6.0,
        ),
    ]
    np.testing.assert_array_equal(mean_map(settings, "a", "b"), [[5, np.nan], [np.nan, 6]])


def test_names_keep_their_order_and_numbers_ascend() -> None:
    settings = [
        _setting(
            {"f": f, "n": n},
            1.0,
        )
        for f, n in (("z", 10), ("a", 9), ("z", 9.5))
    ]
    assert options(settings, "f") == ["z", "a"]
    assert options(settings, "n") == [9, 9.5, 10]


@pytest.mark.parametrize(
    "parameters",
    [
        [{"method": name} for name in ("configs/method/a.yaml", "configs/method/b.yaml")],
        [{"on": True}, {"on": False}],
        [{"x": 0.1}],
        [{"x": -1.0}, {"x": 0.0}, {"x": 100.0}],
        [{"x": i / 7, "y": 1 / (i + 1)} for i in range(20)],
        [{"x": i, "y": "ab"[i % 2], "z": i % 3} for i in range(12)],
        [{"x": "null"}, {"x": 3}],
    ],
)
def test_what_may_come(drawn, parameters: list[dict]) -> None:
    settings = [_setting(row, float(place), place + 0.5) for place, row in enumerate(parameters)]
    figure = drawn(settings)
    for name, panel in zip(parameters[0], figure.axes, strict=False):
        assert panel.get_xlabel() == name
        heights = np.sort(np.concatenate([c.lines[0].get_ydata() for c in panel.containers]))
        assert heights == pytest.approx([place + 0.25 for place in range(len(parameters))])


def test_points_that_differ_in_something_else_are_not_joined(drawn) -> None:
    """Random sweeps were drawn as one zigzag."""
    random = drawn([_setting({"x": i / 7, "y": 1 / (i + 1)}, float(i)) for i in range(20)])
    assert {panel.containers[0].lines[0].get_linestyle() for panel in random.axes} == {"None"}
    alone = drawn([_setting({"x": i / 7}, float(i)) for i in range(20)])
    assert alone.axes[0].containers[0].lines[0].get_linestyle() == "-"
