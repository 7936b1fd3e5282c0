"""The report of a benchmark of methods: tables, bars, curves, strips and part maps beside results.json."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from partnerface.avatar.avatar import Avatar
from partnerface.avatar_files.loading import load_avatar
from partnerface.benchmarks.methods.claims import CLAIMING
from partnerface.benchmarks.methods.figures import changed_values, write_bars, write_curves, write_strips
from partnerface.benchmarks.methods.method_results import STRICT, MethodResults
from partnerface.benchmarks.methods.part_maps import write_part_maps
from partnerface.benchmarks.methods.results import Row
from partnerface.benchmarks.methods.results_markdown import results_markdown
from partnerface.benchmarks.methods.run import RUNS_FOLDER
from partnerface.files.whole_files import replace_text
from partnerface.runs.run import LAST_CHECKPOINT

MARKDOWN_FILE, BARS = "results.md", "bars"
DRAWN = (*CLAIMING, "global_deformation_equal_compute")
"""Methods of which is drawn what drives their parts; one network for the whole head is a single part."""


def write_method_report(out: Path, rows: Sequence[Row], order: Sequence[str]) -> list[Path]:
    """Write tables and figures of one or more rows into the folder of a benchmark, and return the files.

    ``order`` names the methods in the order of tables. Figures of the second start of training, if there are
    two, end in its name.
    """
    results = MethodResults(rows, order)
    written = [out / MARKDOWN_FILE]
    replace_text(written[0], results_markdown(results) + "\n")
    for place, start in enumerate(results.starts):
        written += _write_figures(out, results.of_start(start), f"_{start}" if place else "")
    return written


def _write_figures(out: Path, results: MethodResults, ending: str) -> list[Path]:
    """The figures of trainings with one start; ``ending`` stands before the extension of their names."""
    written = []
    if results.methods:
        written.append(out / f"{BARS}{ending}.png")
        write_bars(written[-1], results)
    for method, name in changed_values(results):
        written.append(out / f"curve_{method}_{name.rsplit('.', 1)[-1]}{ending}.png")
        write_curves(written[-1], results, method, name)
    for subject in results.subjects:
        path = out / f"strips_{subject}{ending}.png"
        if write_strips(path, out / RUNS_FOLDER, results, subject):
            written.append(path)
    if avatars := _moving_avatars(out, results):
        written.append(out / f"parts{ending}.png")
        write_part_maps(written[-1], avatars)
    return written


def _moving_avatars(out: Path, results: MethodResults) -> list[tuple[str, Avatar]]:
    """Our methods and one network on every subject, titled, from the run with the lowest seed."""
    found = []
    for subject, method in itertools.product(results.subjects, DRAWN):
        rows = results.select(subject=subject, method=method, overrides={}, test_parameters=STRICT)
        first = min(rows, key=lambda row: row["seed"], default=None)
        if first is not None and (checkpoint := out / RUNS_FOLDER / first["run"] / LAST_CHECKPOINT).is_file():
            title = f"{method} · {subject} · seed {first['seed']}".replace("_", " ")
            found.append((title, load_avatar(checkpoint)))
    return found
