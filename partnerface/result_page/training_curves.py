"""Curves of a run's log, metrics.csv, as SVG that takes its colour from the page around it."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from partnerface.runs.figures import draw_grid
from partnerface.runs.run import LOGGED_VALUES_FILE

INK = "#010203"
"""Drawn colour that stands for the page's own, ``currentColor``."""
LONGEST_LABEL = 24
MOST_LOSSES = 8

Curve = list[tuple[int, float, float]]
"""Step, seconds and value of each logged row."""


def logged_curves(run: Path) -> dict[str, Curve]:
    """The log of a run by name of the value; rows that are damaged or not finite are left out.

    Empty where the run has no log, as after the test of a checkpoint in a new folder.
    """
    curves: dict[str, Curve] = {}
    try:
        with (run / LOGGED_VALUES_FILE).open(newline="", errors="replace") as file:
            for row in csv.reader(file):
                try:
                    step, seconds, name, value = int(row[0]), float(row[1]), row[2], float(row[3])
                except (ValueError, IndexError):
                    continue
                if math.isfinite(seconds) and math.isfinite(value):
                    curves.setdefault(name, []).append((step, seconds, value))
    except (OSError, csv.Error):
        return {}
    return curves


def curve_figures(curves: Mapping[str, Curve]) -> list[tuple[str, str]]:
    """Title and SVG element of each figure: PSNR in training and validation, and the terms of the loss."""
    psnr = {name: name for name in ("train/psnr", "val/psnr", "val/head_psnr") if name in curves}
    losses = {name: name.removeprefix("train/loss/") for name in curves if name.startswith("train/loss/")}
    # A term that was zero throughout has no place on a logarithmic axis.
    losses = {name: label for name, label in losses.items() if any(value > 0 for *_, value in curves[name])}
    figures = []
    if psnr:
        title = "PSNR in dB, by training step"
        figures.append((title, _drawn(title, [(label, curves[name]) for name, label in psnr.items()])))
    if losses:
        title = "Terms of the loss, by training step"
        shown = list(losses.items())[:MOST_LOSSES]
        figures.append((title, _drawn(title, [(label, curves[name]) for name, label in shown], log=True)))
    return figures


def _drawn(title: str, curves: Sequence[tuple[str, Curve]], log: bool = False) -> str:
    """An SVG element without fonts, references or colours of its own for text and axes."""
    settings = {
        **{"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9},
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
        **{"xtick.color": INK, "ytick.color": INK, "path.simplify": True},
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(5, 2.9), layout="constrained")
        panel = figure.subplots()
        for label, curve in curves:
            steps, values = [row[0] for row in curve], [row[2] for row in curve]
            few = "o-" if len(curve) < 12 else "-"
            panel.plot(steps, values, few, ms=3, lw=1.3, label=_as_label(label))
        if log:
            panel.set_yscale("log", nonpositive="mask")
        draw_grid(panel)
        panel.grid(color=INK, alpha=0.12)
        panel.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return _inline(text.getvalue(), title)


def _as_label(name: str) -> str:
    """A name as a legend shows it: a dollar would begin a formula, an underscore would hide it."""
    return name[:LONGEST_LABEL].lstrip("_").replace("$", r"\$") or "unnamed"


def _inline(svg: str, title: str) -> str:
    """The element of an SVG file; names of its groups go, which two figures in one page would share."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r' id="[\w.]+_\d+"', "", element)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    element = element.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    return element.replace(INK, "currentColor")
