"""The command ``sweep``: a W&B sweep file without a W&B server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partnerface.configuration.config_files import shipped_instead
from partnerface.errors import UserError

if TYPE_CHECKING:
    from partnerface.sweeps.sweep_file import Sweep
    from partnerface.sweeps.sweep_run import SweepRun


def sweep(
    file: Path, out: Path | None = None, workers: int = 1, count: int | None = None, seed: int = 0
) -> None:
    """Run a W&B sweep file here, without a server: methods grid and random.

    A second call with the same ``out`` repeats no run that has finished and continues those that
    were interrupted. It ends in a table, ``sweep.json``, ``sweep.csv`` and ``sweep.png``.

    Args:
        file: the sweep, such as ``sweeps/num_parts.yaml``.
        out: folder of the runs and the report, by default ``runs/sweeps/NAME``.
        workers: runs at once, which share the cores (``OMP_NUM_THREADS``, where it is not set).
        count: most runs; needed for a random sweep.
        seed: seed of a random sweep; a larger ``count`` later keeps the first runs.
    """
    for flag, value in (("workers", workers), ("count", count)):
        if value is not None and value < 1:
            raise UserError(f"--{flag} {value}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from partnerface.files.whole_files import require_writable
    from partnerface.runs.engine import locked, refuse_failures, run_all
    from partnerface.runs.results import environment
    from partnerface.sweeps.sweep_file import read_sweep
    from partnerface.sweeps.sweep_report import (
        CSV_FILE,
        FIGURE_FILE,
        JSON_FILE,
        check_folder,
        runs_table,
        settings_table,
        write_report,
        write_sweep_figure,
    )
    from partnerface.sweeps.sweep_run import settings_of

    question = read_sweep(shipped_instead(Path(file)))
    out = Path("runs") / "sweeps" / question.name if out is None else Path(out)
    runs = question.runs(out, count, seed)
    check_folder(out, question)
    require_writable(out)
    here = environment()
    with locked(out) as lock:
        write_report(out, question, runs, here)
        run_all(question.name, runs, workers, lock, lambda: write_report(out, question, runs, here))
    if not all(run.state == "failed" for run in runs):
        runs_table(question, runs).print()
        settings_table(question, runs).print()
        title = question.question or question.name
        write_sweep_figure(out / FIGURE_FILE, settings_of(runs), question.metric, title)
        print(*(f"  {out / name}" for name in (JSON_FILE, CSV_FILE, FIGURE_FILE)), sep="\n")
    _say_if_of_several_versions(runs)
    _refuse_unlogged_metric(question, runs)
    refuse_failures(f"sweep {question.name}", runs)


def _say_if_of_several_versions(runs: Sequence[SweepRun]) -> None:
    begun = {str(run.environment().get("commit")) for run in runs if run.state == "finished"}
    if len(begun) > 1:
        print(f"Begun with several versions: {', '.join(sorted(begun))}; to compare, remove the older runs")


def _refuse_unlogged_metric(question: Sweep, runs: Sequence[SweepRun]) -> None:
    """Name what was logged where the sweep's metric never was.

    Raises:
        UserError: runs have ended well, and none logged the metric.
    """
    logged = {name for run in runs for name in run.logged()}
    ended_well = any(attempts.exit_code == 0 for run in runs if (attempts := run.attempts()))
    if ended_well and question.metric not in logged:
        names = ", ".join(sorted(logged)) or "nothing"
        raise UserError(f"metric {question.metric}: no run logged it; they logged {names}")
