"""The command ``sweep``: a W&B sweep file without a W&B server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partnerface.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from partnerface.runs.run_folder import SweepRun
    from partnerface.sweeps.sweep_file import Sweep


def sweep(
    file: Path,
    out: Path | None = None,
    workers: int = 1,
    count: int | None = None,
    seed: int = 0,
) -> None:
    """Run a W&B sweep file here, without a server: methods grid and random.

    A second call with the same ``out`` repeats no run that has finished and continues those that
    were interrupted. It ends in a table, ``sweep.json``, ``sweep.csv`` and ``sweep.png``.

    Args:
        file: the sweep, such as ``sweeps/num_parts.yaml``.
        out: folder of the runs and the report, by default ``runs/sweeps/NAME``.
        workers: runs at once, which share the cores (``OMP_NUM_THREADS``, where it is not set).
        count: most runs; needed for a random sweep.
        seed: of a random sweep; a larger ``count`` later keeps the first runs.
    """
    for flag, value in (("workers", workers), ("count", count)):
        if value is not None and value < 1:
            raise UserError(f"--{flag} {value}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from partnerface.configuration.avatar_cli import require_writable
    from partnerface.runs.environment import environment
    from partnerface.runs.run_folder import SweepRun, parameter_digest
    from partnerface.sweeps.combinations import combinations
    from partnerface.sweeps.sweep_file import read_sweep
    from partnerface.sweeps.sweep_folder import check_folder, locked

    asked = read_sweep(Path(file))
    rows = combinations(asked, count, seed)
    out = Path("runs") / "sweeps" / asked.name if out is None else Path(out)
    check_folder(out, asked)
    require_writable(out)
    runs = [SweepRun(out / parameter_digest(row), row, asked.metric) for row in rows]
    with locked(out) as lock:
        _run_all(out, asked, runs, workers, lock, environment())
    _conclude(out, asked, runs)


def _run_all(
    out: Path, asked: Sweep, runs: Sequence[SweepRun], workers: int, lock: int, environment: Mapping[str, Any]
) -> None:
    from partnerface.runs.progress import SweepProgress
    from partnerface.runs.worker_pool import WorkerPool
    from partnerface.sweeps.sweep_report import run_command, write_report

    todo = [run for run in runs if run.state != "finished"]
    if len(todo) < len(runs):
        print(f"{len(runs) - len(todo)} of {len(runs)} runs have finished before", file=sys.stderr)
    write_report(out, asked, runs, environment)
    with SweepProgress(asked.name, runs, workers) as progress:

        def note_end(run: SweepRun) -> None:
            progress.end(run)
            write_report(out, asked, runs, environment)

        WorkerPool(workers, lambda run: run_command(asked, run), lock, note_end, progress.tick).run(todo)


def _conclude(out: Path, asked: Sweep, runs: Sequence[SweepRun]) -> None:
    """Tables, the figure and the runs that failed.

    Raises:
        UserError: a run has failed.
    """
    from partnerface.sweeps.run_settings import settings_of
    from partnerface.sweeps.sweep_figure import write_sweep_figure
    from partnerface.sweeps.sweep_report import (
        CSV_FILE,
        FIGURE_FILE,
        JSON_FILE,
        runs_table,
        settings_table,
    )

    failed = [run for run in runs if run.state == "failed"]
    if len(failed) < len(runs):
        _print_tables(runs_table(asked, runs), settings_table(asked, runs))
        write_sweep_figure(out / FIGURE_FILE, settings_of(runs), asked.metric, asked.question or asked.name)
        print(*(f"  {out / name}" for name in (JSON_FILE, CSV_FILE, FIGURE_FILE)), sep="\n")
    for run in failed:
        print(f"failed: {run.folder}: {run.reason()}")
    _refuse_unlogged_metric(asked, runs)
    if failed:
        raise UserError(
            f"sweep {asked.name}: {len(failed)} of {len(runs)} runs failed, listed above; "
            "the same command tries them again"
        )


def _refuse_unlogged_metric(asked: Sweep, runs: Sequence[SweepRun]) -> None:
    logged = {name for run in runs for name in run.logged()}
    ended_well = any(record.exit_code == 0 for run in runs if (record := run.record()))
    if ended_well and asked.metric not in logged:
        names = ", ".join(sorted(logged)) or "nothing"
        raise UserError(f"metric {asked.metric}: no run logged it; they logged {names}")


def _print_tables(*tables: Table) -> None:
    """Print tables, not cut to the 80 columns that a file or a pipe is taken for."""
    from rich.console import Console

    console = Console()
    console.width = console.width if console.is_terminal else max(console.width, 130)
    for table in tables:
        console.print(table)
