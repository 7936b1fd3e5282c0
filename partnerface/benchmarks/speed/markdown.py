"""speed.json as tables: what was reached, where the time goes, how soon each method is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partnerface.benchmarks.speed.rendering import FRAME_SIZE
from partnerface.runs.results import TextTable

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
    blocks = [
        f"`{report['command']}`, commit {report['commit']}, {_machine(report['machine'])}:",
        rows_table(measured).as_markdown(),
        _missing(report["rows"]),
        *(table.as_markdown() for table in stages_tables(report)),
        _convergence_table(report.get("convergence", {})),
        *pictures,
    ]
    return "\n\n".join(block for block in blocks if block)


def print_report(report: dict[str, Any]) -> None:
    """Print stages and rows of the content of ``speed.json``."""
    for table in (*stages_tables(report), rows_table(report["rows"])):
        table.print()
    machine = report["machine"]
    if machine["load_at_start"] and machine["load_at_start"][0] > machine["cores"] / 2:
        print("The machine was busy: wall times and their ratios suffer, those by CPU time hardly do.")


def _machine(machine: dict[str, Any]) -> str:
    device = f" and {machine['cuda']}" if machine["cuda"] else ""
    return f"{machine['cores']} cores of {machine['processor']}{device}"


def rows_table(rows: Sequence[dict[str, Any]]) -> TextTable:
    """Name, value with its spread, the value by CPU time, unit and target; why a value is missing."""

    def cells(row: dict[str, Any]) -> list[str]:
        spread = row.get("spread")
        by_cpu = row.get("by_cpu_time")
        target = row["target"] or ""
        return [
            row["name"],
            f"- ({row['note']})" if row["value"] is None else three_digits(row["value"]),
            f"{three_digits(spread['min'])} - {three_digits(spread['max'])}" if spread else "",
            three_digits(by_cpu["median"]) if by_cpu else "",
            row["unit"],
            target if row["holds"] is not False else f"{target}: missed",
        ]

    titles = ("what", "value", "min - max", "by CPU time", "unit", "target")
    return TextTable(titles, [cells(row) for row in rows], "partnerface benchmark speed")


def three_digits(value: float) -> str:
    """A value with three digits, or whole from 100 on.

    >>> [three_digits(value) for value in (0.01234, 1.5, 99.94, 123.4, 17224.0)]
    ['0.0123', '1.5', '99.9', '123', '17,224']
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _missing(rows: Sequence[dict[str, Any]]) -> str:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["value"] is None:
            reasons.setdefault(row["note"], []).append(row["name"])
    return " ".join(f"Not measured, {reason}: {', '.join(names)}." for reason, names in reasons.items())


def stages_tables(report: dict[str, Any]) -> list[TextTable]:
    """For each profile its stages with milliseconds, share and points, and their sum."""
    tables = []
    for name, stages in report.get("profile", {}).items():
        rows = [
            [
                row["stage"],
                f"{row['milliseconds']:.1f}",
                f"{row['share']:.0%}",
                "" if row["points"] is None else f"{row['points']:,}",
            ]
            for row in stages
        ]
        total = ["total", f"{sum(row['milliseconds'] for row in stages):.1f}", "", ""]
        tables.append(TextTable((PROFILE_TITLES[name], "CPU ms", "share", "points"), [*rows, total]))
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
