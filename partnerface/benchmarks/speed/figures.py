"""Figures of the speed benchmark: convergence, growth curves and the stages of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from partnerface.benchmarks.speed.growth import GrowthCurve


def write_convergence_figure(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """Draw what `convergence_rows` found: a curve for one training of each method, stars for the others."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    panel = figure.subplots()
    for number, (method, entries) in enumerate(found.items()):
        colour = f"C{number}"
        watched = max(entries.values(), key=lambda entry: len(entry["curve"]))
        seconds, scores = zip(*watched["curve"], strict=True)
        panel.semilogx(seconds, scores, "o-", color=colour, markersize=3, label=method)
        for entry in entries.values():
            if entry is not watched:
                panel.plot(entry["cpu_seconds"], entry["psnr"], "*", color=colour, markersize=10)
    panel.set_xlabel("CPU seconds of training (star: schedules for that budget)")
    panel.set_ylabel("PSNR inside the head mask, dB")
    panel.grid(True, which="major", color="0.9")
    panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def write_growth_figure(path: Path, curves: list[GrowthCurve]) -> None:
    """Draw a panel for each curve, both axes logarithmic; dashed is linear growth from the first point."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for panel, curve in zip(panels, curves, strict=False):
        linear = [curve.milliseconds[0] * size / curve.sizes[0] for size in curve.sizes]
        panel.loglog(curve.sizes, curve.milliseconds, "o-", color="tab:blue")
        panel.loglog(curve.sizes, linear, "--", color="0.6")
        panel.set_ylim(0.5 * min(curve.milliseconds), 2 * max(curve.milliseconds))
        panel.set_title(f"{curve.cost}: exponent {round(curve.exponent, 2) + 0.0:.2f}", size=10)
        panel.set_xticks(curve.sizes, [_tick(size) for size in curve.sizes])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_xlabel(curve.axis)
        panel.set_ylabel("CPU ms")
        panel.grid(True, which="major", color="0.9")
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110)


def _tick(size: float) -> str:
    return f"{size:g}" if size < 1e4 else f"{size / 1000:.0f}k"


def write_stage_figure(path: Path, profiles: dict[str, list[dict[str, Any]]]) -> None:
    """Draw a panel for each profile: milliseconds of every stage, slowest on top."""
    figure = Figure(figsize=(5.5 * len(profiles), 3.6), layout="constrained")
    panels = figure.subplots(1, len(profiles), squeeze=False)[0]
    for panel, (title, stages) in zip(panels, profiles.items(), strict=True):
        names = [row["stage"] for row in stages]
        bars = panel.barh(names, [row["milliseconds"] for row in stages], color="tab:blue")
        panel.bar_label(bars, [f"{row['share']:.0%}" for row in stages], padding=3, size=8)
        panel.invert_yaxis()
        panel.margins(x=0.12)
        panel.set_title(title, size=10)
        panel.set_xlabel("CPU ms")
    figure.savefig(path, dpi=110)
