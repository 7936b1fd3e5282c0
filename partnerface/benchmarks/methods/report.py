"""The report of a benchmark of methods: tables, bars, curves, strips and part maps beside results.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from partnerface.benchmarks.method_under_test import OURS
from partnerface.benchmarks.methods.figures import changed_values, write_bars, write_curves
from partnerface.benchmarks.methods.part_maps import write_part_maps
from partnerface.benchmarks.methods.results import STRICT, MethodResults
from partnerface.benchmarks.methods.results_file import Row
from partnerface.benchmarks.methods.results_markdown import results_markdown
from partnerface.benchmarks.methods.run import RUNS_FOLDER
from partnerface.benchmarks.methods.strips import write_strips
from partnerface.files.whole_files import replace_text
from partnerface.runs.run import LAST_CHECKPOINT
from partnerface.training.avatar_checkpoint import load_avatar

MARKDOWN_FILE, BARS_FILE = "results.md", "bars.png"


def write_method_report(out: Path, rows: Sequence[Row], order: Sequence[str]) -> list[Path]:
    """Write tables and figures into the folder of a benchmark.

    Args:
        out: folder of the benchmark.
        rows: at least one.
        order: names of the methods in the order of tables.

    Returns:
        The files.
    """
    results = MethodResults(rows, order)
    written = [out / MARKDOWN_FILE]
    replace_text(written[0], results_markdown(results) + "\n")
    if results.methods:
        write_bars(out / BARS_FILE, results)
        written.append(out / BARS_FILE)
    for method, name in changed_values(results):
        path = out / f"curve_{method}_{name.rsplit('.', 1)[-1]}.png"
        write_curves(path, results, method, name)
        written.append(path)
    for subject in results.subjects:
        path = out / f"strips_{subject}.png"
        if write_strips(path, out / RUNS_FOLDER, results, subject):
            written.append(path)
    if maps := _write_part_maps(out, results):
        written.append(maps)
    return written


def _write_part_maps(out: Path, results: MethodResults) -> Path | None:
    """Draw the parts of our method on every subject, from the run with the lowest seed."""
    shown = []
    for subject in results.subjects:
        rows = results.select(subject=subject, method=OURS, overrides={}, protocol=STRICT)
        first = min(rows, key=lambda row: row["seed"], default=None)
        if first is not None and (checkpoint := out / RUNS_FOLDER / first["run"] / LAST_CHECKPOINT).is_file():
            shown.append((f"{subject.replace('_', ' ')}, seed {first['seed']}", load_avatar(checkpoint)))
    if not shown:
        return None
    path = out / "parts.png"
    write_part_maps(path, shown)
    return path
