"""`benchmark methods`: every method, subject and seed under one compute budget, one process for each run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partnerface.benchmarks.method_under_test import method_names, without_notices
from partnerface.configuration.config_files import CONFIGS
from partnerface.errors import UserError
from partnerface.runs.stop_signals import termination_as_exit

if TYPE_CHECKING:
    from partnerface.benchmarks.methods.results_file import Row
    from partnerface.benchmarks.methods.run import BenchmarkRun

QUICK_STEPS = 20


@dataclass(frozen=True)
class MethodsOptions:
    """What the command was asked; see `partnerface.cli.benchmark.benchmark`."""

    out: Path
    quick: bool
    methods: str | None
    subjects: str
    seeds: str
    clip_seeds: str
    cpu_seconds: float
    clip_cpu_seconds: float
    steps: int | None
    workers: int
    refined: bool
    readme: Path | None
    plan: bool


def benchmark_methods(options: MethodsOptions) -> None:
    """Run what has not finished, then write results, tables and figures.

    Raises:
        UserError: bad options, or a run has failed; what the others found is kept.
    """
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: must be 1 or more")
    runs = planned_runs(options)
    if options.plan:
        _print_plan(runs, options.workers)
        return
    # Imported here: --help need not wait for torch.
    from partnerface.benchmarks.markdown import RESULTS, read_section
    from partnerface.benchmarks.methods.results_file import RESULTS_FILE, check_budgets, read_results
    from partnerface.configuration.avatar_cli import require_writable
    from partnerface.sweeps.sweep_folder import locked

    if options.readme is not None:
        read_section(Path(options.readme), RESULTS)
    path = options.out / RESULTS_FILE
    check_budgets(path, read_results(path), runs)
    require_writable(options.out)
    with locked(options.out) as lock:
        rows = _run_all(options, runs, lock)
        _report(options, rows)
    failed = [run for run in runs if run.sweep_run.state == "failed"]
    for run in failed:
        print(f"failed: {run.title}: {run.sweep_run.reason()} (see {run.folder / 'log.txt'})")
    if failed:
        raise UserError(
            f"benchmark methods: {len(failed)} of {len(runs)} runs failed, listed above; "
            "the same command tries them again"
        )


def planned_runs(options: MethodsOptions) -> list[BenchmarkRun]:
    """All runs, seed by seed, so that a table fills evenly."""
    from partnerface.benchmarks.methods.run import BenchmarkRun, ComputeBudget
    from partnerface.benchmarks.methods.subject import Resolution, parse_subjects, relative
    from partnerface.benchmarks.methods.variant import parse_variants

    known = method_names()
    variants = parse_variants(options.methods or ",".join(known), known)
    resolution = Resolution(synthetic=32, frames=24, clip=32) if options.quick else Resolution()
    out = relative(options.out)
    people = parse_subjects(options.subjects, out, resolution)
    steps = QUICK_STEPS if options.quick and options.steps is None else options.steps

    def budget(seconds: float) -> ComputeBudget:
        return ComputeBudget(cpu_seconds=seconds) if steps is None else ComputeBudget(steps=steps)

    embedded, clip = budget(options.cpu_seconds), budget(options.clip_cpu_seconds)
    seeds = {True: _seeds("seeds", options.seeds), False: _seeds("clip_seeds", options.clip_seeds)}
    return [
        BenchmarkRun(
            variant, person, seed, embedded if person.is_synthetic else clip, out, CONFIGS, options.refined
        )
        for seed in sorted({*seeds[True], *seeds[False]})
        for person in people
        if seed in seeds[person.is_synthetic]
        for variant in variants
    ]


def _seeds(flag: str, text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise UserError(f"--{flag} {text}: must be whole numbers with commas between, such as 0,1,2")
    return [int(word) for word in words]


def _print_plan(runs: Sequence[BenchmarkRun], workers: int) -> None:
    from partnerface.benchmarks.methods.progress import BenchmarkProgress

    for run in runs:
        print(f"{run.title}: {run.sweep_run.state}\n  {run.command}")
    with BenchmarkProgress(runs, workers, lambda run: run.title):
        pass


def _run_all(options: MethodsOptions, runs: Sequence[BenchmarkRun], lock: int) -> list[Row]:
    """Run what has not finished; returns all rows of the folder."""
    from partnerface.benchmarks.methods.progress import BenchmarkProgress
    from partnerface.benchmarks.methods.results_file import (
        RESULTS_FILE,
        gather_rows,
        head_psnr_text,
        write_environment,
    )
    from partnerface.runs.environment import environment
    from partnerface.runs.run_folder import SweepRun
    from partnerface.runs.worker_pool import WorkerPool

    path = options.out / RESULTS_FILE
    todo = [run for run in runs if run.sweep_run.state != "finished"]
    here, by_folder = environment(), {run.folder: run for run in runs}
    for person in {run.subject: None for run in todo}:
        person.prepare(_run_command)

    def start(run: SweepRun) -> list[str]:
        waiting = by_folder[run.folder]
        write_environment(waiting, here)
        return ["sh", "-c", waiting.remaining_command]

    with BenchmarkProgress(runs, options.workers, head_psnr_text) as progress:

        def note_end(run: SweepRun) -> None:
            gather_rows(path, runs)
            progress.end(run)

        pool = WorkerPool(options.workers, start, lock, note_end, progress.tick)
        pool.run([run.sweep_run for run in todo])
    return gather_rows(path, runs)


def _run_command(words: list[str]) -> None:
    """Run a command of this installation.

    Raises:
        UserError: it failed; it has said why.
        Terminated: by SIGTERM; the command has ended too.
    """
    # Whoever ends the benchmark ends the command with it: `run` kills its child on its way out.
    with termination_as_exit():
        ended = subprocess.run([sys.executable, "-m", *words])
    if ended.returncode:
        raise UserError(f"{' '.join(words)}: ended with code {ended.returncode}")


def _report(options: MethodsOptions, rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from partnerface.benchmarks.markdown import RESULTS, write_section
    from partnerface.benchmarks.methods.report import MARKDOWN_FILE, write_method_report
    from partnerface.benchmarks.methods.results_file import RESULTS_FILE

    if not rows:
        return
    with without_notices():
        written = write_method_report(options.out, rows, method_names())
    text = (options.out / MARKDOWN_FILE).read_text().strip()
    console = Console()
    console.width = console.width if console.is_terminal else max(console.width, 160)
    console.print(Markdown(text))
    if options.readme is not None:
        write_section(Path(options.readme), RESULTS, text)
        written.append(Path(options.readme))
    print(*(f"  {path}" for path in [options.out / RESULTS_FILE, *written]), sep="\n")
