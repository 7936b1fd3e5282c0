"""speed.json as Markdown: what was reached, where the time goes, how soon each method is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partnerface.benchmarks.markdown import markdown_table
from partnerface.benchmarks.speed.report import PROFILE_TITLES, shown

FIGURES = {
    "stages": "stages of a step and of a frame",
    "growth": "growth of the cost",
    "convergence": "convergence of each method",
}
"""Figures that a run may leave, by name of the PNG."""


def speed_markdown(report: dict[str, Any], figures: dict[str, str]) -> str:
    """Everything for a README, without a heading.

    Args:
        report: what `SpeedReport.as_json` gives.
        figures: places of the figures as the README names them, by name in `FIGURES`.
    """
    pictures = [f"![{FIGURES[name]}]({place})" for name, place in figures.items()]
    blocks = [
        f"`{report['command']}`, commit {report['commit']}, {_machine(report['machine'])}:",
        _rows_table([row for row in report["rows"] if row["value"] is not None]),
        _missing(report["rows"]),
        *(_stages_table(PROFILE_TITLES[name], stages) for name, stages in report.get("profile", {}).items()),
        _convergence_table(report.get("convergence", {})),
        *pictures,
    ]
    return "\n\n".join(block for block in blocks if block)


def _machine(machine: dict[str, Any]) -> str:
    device = f" and {machine['cuda']}" if machine["cuda"] else ""
    return f"{machine['cores']} cores of {machine['processor']}{device}"


def _rows_table(rows: Sequence[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> list[str]:
        spread = row.get("spread")
        by_cpu = row.get("by_cpu_time")
        target = row["target"] or ""
        return [
            row["name"],
            shown(row["value"]),
            f"{shown(spread['min'])} - {shown(spread['max'])}" if spread else "",
            shown(by_cpu["median"]) if by_cpu else "",
            row["unit"],
            target if row["holds"] is not False else f"{target}: missed",
        ]

    head = ("what", "value", "min - max", "by CPU time", "unit", "target")
    return markdown_table(head, [cells(row) for row in rows])


def _missing(rows: Sequence[dict[str, Any]]) -> str:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["value"] is None:
            reasons.setdefault(row["note"], []).append(row["name"])
    return " ".join(f"Not measured, {reason}: {', '.join(names)}." for reason, names in reasons.items())


def _stages_table(title: str, stages: Sequence[dict[str, Any]]) -> str:
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
    return markdown_table((title, "CPU ms", "share", "points"), [*rows, total])


def _convergence_table(found: dict[str, dict[str, Any]]) -> str:
    """PSNR by method: on the way of the training that was watched, and at the end of each other."""
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
    return markdown_table(("PSNR inside the head mask, dB", *marks, *others), rows)
