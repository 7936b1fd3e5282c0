"""SpeedReport: the results of `benchmark speed` in a JSON file, their tables and their figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from partnerface.benchmarks.speed.growth import GrowthCurve
from partnerface.benchmarks.speed.measurement import ResultRow
from partnerface.benchmarks.speed.throughput import FRAME_SIZE
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import replace_text
from partnerface.runs.results import TextTable

FORMAT_VERSION = 1
RESUMABLE = ("convergence", "quality")
"""Sections of long trainings, which are kept if an earlier run has written them."""


class SpeedReport:
    """Collects rows and sections and keeps the file up to date.

    Args:
        path: the JSON file, written at once so that a wrong path ends the run at its start.
        environment: command, commit and machine; see `partnerface.runs.results.environment`.

    Attributes:
        rows: measured values.
        sections: profiles, convergence and quality, by name.

    Raises:
        UserError: the file cannot be written, or holds something else than a report.
    """

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path, self.environment = path, environment
        self.rows: list[ResultRow] = []
        earlier = read_json_table(path, "choose another --json") if path.is_file() else {"suite": "speed"}
        if earlier.get("suite") != "speed":
            raise UserError(
                f"--json {path}: holds something else than a speed benchmark; choose another file"
            )
        self.sections = {name: earlier[name] for name in RESUMABLE if earlier.get(name)}
        self.save()

    def add(self, *rows: ResultRow) -> None:
        """Append rows and save."""
        self.rows += rows
        self.save()

    def as_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            "suite": "speed",
            "format_version": FORMAT_VERSION,
            **self.environment,
            "rows": [row.as_json() for row in self.rows],
            **self.sections,
        }

    def save(self) -> None:
        """Write the file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self.path, json.dumps(self.as_json(), indent=1) + "\n")
        except (OSError, UserError) as error:
            message = f"--json {self.path}: cannot be written ({error}); choose another file"
            raise UserError(message) from error


PROFILE_TITLES = {
    "training_step": "one training step, one thread",
    "rendered_frame": f"one frame of {FRAME_SIZE}x{FRAME_SIZE}, summed over threads",
}
FIGURES = {
    "stages": "stages of a step and of a frame",
    "growth": "growth of the cost",
    "convergence": "convergence of each method",
}
"""Figures that a run may write, by name of the PNG."""


def speed_markdown(report: dict[str, Any], figures: dict[str, str]) -> str:
    """All tables and figures as Markdown, without a heading.

    Args:
        report: content of ``speed.json``; see `SpeedReport.as_json`.
        figures: paths of the figures relative to the Markdown file, by name in `FIGURES`.
    """
    pictures = [f"![{FIGURES[name]}]({place})" for name, place in figures.items()]
    measured = [row for row in report["rows"] if row["value"] is not None]
    missing: dict[str, list[str]] = {}
    for row in report["rows"]:
        if row["value"] is None:
            missing.setdefault(row["note"], []).append(row["name"])
    machine = report["machine"]
    blocks = [
        f"`{report['command']}`, commit {report['commit']}, {machine['cores']} cores of "
        f"{machine['processor']}:",
        rows_table(measured).as_markdown(),
        " ".join(f"Not measured, {reason}: {', '.join(names)}." for reason, names in missing.items()),
        *(table.as_markdown() for table in stages_tables(report.get("profile", {}))),
        _convergence_table(report.get("convergence", {})),
        *pictures,
    ]
    return "\n\n".join(block for block in blocks if block)


def print_report(report: dict[str, Any]) -> None:
    """Print stages and rows of the content of ``speed.json``."""
    for table in (*stages_tables(report.get("profile", {})), rows_table(report["rows"])):
        table.print()
    machine = report["machine"]
    if machine["load_at_start"] and machine["load_at_start"][0] > machine["cores"] / 2:
        print("The machine was busy: wall times and their ratios suffer, those by CPU time hardly do.")


def rows_table(rows: Sequence[dict[str, Any]], caption: str = "partnerface benchmark speed") -> TextTable:
    """Name, value with its spread, the value by CPU time if any has it, unit, target; why one is missing."""
    by_cpu_time = any(row.get("by_cpu_time") for row in rows)

    def cells(row: dict[str, Any]) -> list[str]:
        spread = row.get("spread")
        by_cpu = row.get("by_cpu_time")
        target = row["target"] or ""
        return [
            row["name"],
            f"- ({row['note']})" if row["value"] is None else three_digits(row["value"]),
            f"{three_digits(spread['min'])} - {three_digits(spread['max'])}" if spread else "",
            *([three_digits(by_cpu["median"]) if by_cpu else ""] if by_cpu_time else []),
            row["unit"],
            target if row["holds"] is not False else f"{target}: missed",
        ]

    titles = ["what", "value", "min - max", *(["by CPU time"] if by_cpu_time else []), "unit", "target"]
    return TextTable(titles, [cells(row) for row in rows], caption)


def three_digits(value: float) -> str:
    """A value with three digits, or whole from 100 on.

    >>> [three_digits(value) for value in (0.01234, 1.5, 99.94, 123.4, 17224.0)]
    ['0.0123', '1.5', '99.9', '123', '17,224']
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def stages_tables(
    profiles: dict[str, list[dict[str, Any]]],
    titles: dict[str, str] = PROFILE_TITLES,
    unit: str = "CPU ms",
) -> list[TextTable]:
    """For each profile its stages with milliseconds, share and points, and their sum."""
    tables = []
    for name, stages in profiles.items():
        rows = []
        for row in stages:
            points = "" if row["points"] is None else f"{row['points']:,}"
            rows.append([row["stage"], f"{row['milliseconds']:.1f}", f"{row['share']:.0%}", points])
        rows.append(["total", f"{sum(row['milliseconds'] for row in stages):.1f}", "", ""])
        tables.append(TextTable((titles[name], unit, "share", "points"), rows))
    return tables


def _convergence_table(found: dict[str, dict[str, Any]]) -> str:
    """PSNR by method: during the training that was scored on its way, and at the end of each other."""
    watched = {m: max(entries.values(), key=lambda e: len(e["curve"])) for m, entries in found.items()}
    watched = {method: entry for method, entry in watched.items() if len(entry["curve"]) > 1}
    if not watched:
        return ""
    marks = [f"at {seconds:.0f} s" for seconds, _ in next(iter(watched.values()))["curve"]]
    budgets = sorted({float(b) for m, w in watched.items() for b, e in found[m].items() if e is not w})
    rows = []
    for method, entry in watched.items():
        ends = [found[method].get(f"{budget:g}") for budget in budgets]
        scores = [score for _, score in entry["curve"]] + [end and end["psnr"] for end in ends]
        rows.append([method, *("" if score is None else f"{score:.1f}" for score in scores)])
    others = [f"trained for {budget:.0f} CPU s" for budget in budgets]
    return TextTable(("PSNR inside the head mask, dB", *marks, *others), rows).as_markdown()


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
        ticks = [f"{size:g}" if size < 1e4 else f"{size / 1000:.0f}k" for size in curve.sizes]
        panel.set_xticks(curve.sizes, ticks)
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
