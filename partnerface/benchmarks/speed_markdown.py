"""speed.json as Markdown: what was reached, where the time goes, how soon each method is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partnerface.benchmarks.speed_report import shown

FIGURES = {
    "stages": "stages of a step and of a frame",
    "growth": "growth of the cost",
    "convergence": "convergence of each method",
}
"""Figures that a run may leave, by name of the PNG."""

PROFILES = {"training_step": "one training step, one thread", "rendered_frame": "one frame of 256x256"}


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
        *(_stages_table(PROFILES[name], stages) for name, stages in report.get("profile", {}).items()),
        _convergence_table(report.get("convergence", {})),
        *pictures,
    ]
    return "\n\n".join(block for block in blocks if block)


def _machine(machine: dict[str, Any]) -> str:
    device = f" and {machine['cuda']}" if machine["cuda"] else ""
    return f"{machine['cores']} cores of {machine['processor']}{device}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


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
    return _table(head, [cells(row) for row in rows])


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
    return _table((title, "CPU ms", "share", "points"), [*rows, total])


def _convergence_table(found: dict[str, dict[str, Any]]) -> str:
    """PSNR by method: after its own short training, and along the long one."""
    done = {name: entries for name, entries in found.items() if len(entries) > 1}
    if not done:
        return ""
    longest = [max(entries.values(), key=lambda entry: entry["cpu_seconds"]) for entries in done.values()]
    marks = [f"{seconds:.0f}" for seconds, _ in longest[0]["curve"]]
    rows = []
    for (method, entries), long in zip(done.items(), longest, strict=True):
        short = min(entries.values(), key=lambda entry: entry["cpu_seconds"])
        rows.append([method, f"{short['psnr']:.1f}", *(f"{score:.1f}" for _, score in long["curve"])])
    first = next(iter(done.values()))
    budget = min(entry["cpu_seconds"] for entry in first.values())
    head = ("PSNR inside the head mask, dB", f"trained for {budget:.0f} CPU s", *(f"at {m} s" for m in marks))
    return _table(head, rows)
