"""The figure of convergence: PSNR inside the mask against CPU seconds, a line for each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def write_convergence_figure(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """Draw what `convergence_rows` found: one training on its way, and the others as single stars."""
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
