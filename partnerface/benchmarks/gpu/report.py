"""What `benchmark gpu` found: `gpu.json`, the printed table and the block of docs/speed.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partnerface.benchmarks.gpu.sections import COMMAND, SectionRun
from partnerface.benchmarks.speed.report import rows_table, stages_tables
from partnerface.errors import UserError
from partnerface.files.whole_files import replace_text
from partnerface.runs.results import TextTable

FORMAT_VERSION = 1
NO_GPU, UNTRIED = "not measured: no GPU was at hand", "not measured yet"


def gathered(runs: Sequence[SectionRun], reason: str) -> dict[str, Any]:
    """All that the sections have found.

    Args:
        runs: the sections.
        reason: why those that have not been tried were not.
    """
    sections = {}
    for run in runs:
        state, found = run.state, run.found()
        attempts = run.attempts()
        sections[run.name] = {
            "state": state,
            "reason": {"finished": None, "failed": run.failure()}.get(state, reason),
            "seconds": attempts and attempts.seconds,
            "commit": found.get("commit"),
            "rows": found.get("rows", []),
        }
    last = next((run.found() for run in reversed(runs) if run.found()), {})
    kept = {name: last.get(name) for name in ("command", "version", "machine", "device")}
    return {"suite": "gpu", "format_version": FORMAT_VERSION, **kept, "sections": sections}


def check_one_device(runs: Sequence[SectionRun], out: Path, name: str) -> None:
    """Refuse a folder with results of another device.

    Raises:
        UserError: it holds some.
    """
    for run in runs:
        other = run.found().get("device", {}).get("name", name)
        if other != name:
            raise UserError(f"--out {out}: holds results of {other}, this is {name}; choose another folder")


def write_report(path: Path, runs: Sequence[SectionRun], reason: str) -> dict[str, Any]:
    """Write what `gathered` returns as JSON, and return it."""
    report = gathered(runs, reason)
    replace_text(path, json.dumps(report, indent=1) + "\n")
    return report


def print_report(report: dict[str, Any], *states: str) -> None:
    """Print stages, rows, and why sections are missing that are in one of some states."""
    rows = [row for section in report["sections"].values() for row in section["rows"]]
    for table in (*_stages(rows), *([rows_table(rows, COMMAND)] if rows else [])):
        table.print()
    for line in _missing(report, *states):
        print(line)


def gpu_markdown(report: dict[str, Any]) -> str:
    """All tables as Markdown; one line where nothing was measured."""
    rows = [row for section in report["sections"].values() for row in section["rows"]]
    missing = _missing(report, "waiting", "interrupted", "failed")
    if not rows:
        return "\n\n".join(missing)
    device = report["device"]
    commits: dict[str, list[str]] = {}
    for name, section in report["sections"].items():
        if section["rows"]:
            commits.setdefault(section["commit"], []).append(name)
    where = " and ".join(
        f"commit {commit}" + (f" ({', '.join(names)})" if len(commits) > 1 else "")
        for commit, names in commits.items()
    )
    head = f"`{report['command']}`, {where}, {device['name']}, driver {device.get('driver')}, "
    head += f"torch {device['torch']}, Warp {device['warp']}:"
    blocks = [
        head,
        rows_table([row for row in rows if row["value"] is not None]).as_markdown(),
        *(f"{row['name']}: not measured: {row['note']}." for row in rows if row["value"] is None),
        *missing,
        *(table.as_markdown() for table in _stages(rows)),
        *(table.as_markdown() for table in _curves(rows)),
    ]
    return "\n\n".join(block for block in blocks if block)


def _missing(report: dict[str, Any], *states: str) -> list[str]:
    """A line for each reason for which sections are in one of some states."""
    reasons: dict[str, list[str]] = {}
    for name, section in report["sections"].items():
        if section["state"] in states:
            reasons.setdefault(section["reason"], []).append(name)
    return [f"{', '.join(names)}: {reason}." for reason, names in reasons.items()]


def _stages(rows: Sequence[dict[str, Any]]) -> list[TextTable]:
    profiles = {row["name"]: row["details"]["stages"] for row in rows if "stages" in row.get("details", {})}
    return stages_tables(profiles, {name: name.replace("_", " ") for name in profiles}, "ms")


def _curves(rows: Sequence[dict[str, Any]]) -> list[TextTable]:
    """Seconds and PSNR of each training that was scored on its way."""
    curves = {row["name"]: row["details"]["curve"] for row in rows if "curve" in row.get("details", {})}
    return [
        TextTable(
            (name.replace("_", " "), *(f"{seconds:.0f} s" for seconds, _ in curve)),
            [["PSNR inside the head mask, dB", *(f"{psnr:.1f}" for _, psnr in curve)]],
        )
        for name, curve in curves.items()
    ]
