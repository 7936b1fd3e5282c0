"""The command ``benchmark methods``: every method, subject and seed under one compute budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from partnerface.errors import UserError

QUICK_STEPS = 20
CPU_SECONDS = {False: 60.0, True: 120.0}
"""CPU seconds of training on an embedded subject, by whether its pictures are larger than 128x128."""


def benchmark_methods(
    out: Path = Path("runs/methods"),
    quick: bool = False,
    methods: str | None = None,
    subjects: str = "synthetic_c",
    seeds: str = "0,1,2",
    clip_seeds: str = "0",
    cpu_seconds: float | None = None,
    clip_cpu_seconds: float = 300.0,
    steps: int | None = None,
    starts: str = "converged,scratch",
    statics: float = 4.0,
    workers: int = 2,
    refined: bool = False,
    protocol: str | None = None,
    head_model: Path | None = None,
    sample: int | None = None,
    readme: Path | None = None,
    plan: bool = False,
) -> None:
    """Compare methods under one compute budget; ``benchmark speed`` measures this installation.

    Writes ``OUT/results.json`` with tables and figures. It can be interrupted; a second call with the
    same ``out`` repeats nothing that has finished.

    Args:
        out: folder of the runs and results.
        quick: 20 steps on frames of 32x32: does everything run?
        methods: names of files in ``configs/method`` with commas between; by default those that the claims
            compare. ``oracle``, which undoes the true motion, runs on embedded subjects alone.
            ``part_deformation:parts=1/2/4`` makes a variant of each value.
        subjects: embedded subjects (``synthetic_a``, ``synthetic_b``, and ``synthetic_c``, whose face
            folds), videos, and folders of tracked datasets, ours or of another system.
            ``synthetic_c:tracking_noise=0.1`` changes a setting: ``tracking_noise``, ``coupling``,
            ``frames`` or ``size``. ``DATASET:head_model=FILE`` gives one dataset a FLAME file of its own.
        seeds: seeds of the embedded subjects.
        clip_seeds: seeds of all others.
        cpu_seconds: CPU seconds of training on the embedded subjects; by default 60 at 128x128 and 120 at
            256x256.
        clip_cpu_seconds: CPU seconds of training on the others, 256 pixels.
        steps: steps of training in place of CPU seconds.
        starts: ``converged``: methods start from the field and torso of an avatar that was trained with
            skinning alone, once for each subject and seed; ``scratch``; or both.
        statics: budget of that training, in budgets of a method.
        workers: runs at once, each on one core.
        refined: score with head parameters fitted to the test frames as well.
        protocol: insta, pointavatar, nerface, nersemble-mono or strict: divides all subjects, sets their size
            and is named beside the numbers.
        head_model: FLAME file of the datasets that were tracked with FLAME.
        sample: test on so many frames of each split alone, evenly spread; by default on all.
        readme: file that takes the tables, between ``<!-- results -->`` and ``<!-- results end -->``; with a
            protocol those of it alone, between ``<!-- protocol NAME -->`` and ``<!-- protocol NAME end -->``.
        plan: only say what would be run and how long it takes.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: must be 1 or more")
    if sample is not None and sample < 1:
        raise UserError(f"--sample {sample}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from rich.markdown import Markdown

    from partnerface.benchmarks.method_under_test import ORACLE, method_names, without_notices
    from partnerface.benchmarks.methods.compared import (
        COMPARED,
        BenchmarkSubject,
        Resolution,
        parse_subjects,
        parse_variants,
        relative,
    )
    from partnerface.benchmarks.methods.plan import planned_runs
    from partnerface.benchmarks.methods.results import (
        RESULTS_FILE,
        check_budgets,
        gather_rows,
        read_results,
        result_text,
    )
    from partnerface.benchmarks.methods.run import (
        CONVERGED,
        DEMO_SIZE,
        SCRATCH,
        ComputeBudget,
    )
    from partnerface.benchmarks.sections import METHODS_SECTION, read_section, write_section
    from partnerface.data.protocols import protocol_named
    from partnerface.files.whole_files import require_writable
    from partnerface.runs.engine import RunsProgress, locked, refuse_failures, run_all
    from partnerface.runs.results import print_wide

    known = [*method_names(), ORACLE]
    out, steps = relative(Path(out)), QUICK_STEPS if quick and steps is None else steps
    resolution = Resolution(synthetic=32, frames=24, clip=32) if quick else Resolution()
    named = None if protocol is None else protocol_named(protocol)
    if named is not None:
        resolution = resolution.under(named)
    chosen = [start.strip() for start in starts.split(",")]
    if not set(chosen) <= {CONVERGED, SCRATCH}:
        raise UserError(f"--starts {starts}: choose {CONVERGED}, {SCRATCH} or both with a comma between")
    if statics <= 0:
        raise UserError(f"--statics {statics:g}: must be more than 0")

    def budget_of(subject: BenchmarkSubject) -> ComputeBudget:
        if steps is not None:
            return ComputeBudget(steps=steps)
        embedded = CPU_SECONDS[subject.size > DEMO_SIZE] if cpu_seconds is None else cpu_seconds
        return ComputeBudget(embedded if subject.is_synthetic else clip_cpu_seconds)

    runs = planned_runs(
        parse_variants(methods or ",".join(COMPARED), known),
        parse_subjects(subjects, out, resolution, named, head_model),
        {True: _seeds("seeds", seeds), False: _seeds("clip_seeds", clip_seeds)},
        budget_of,
        out,
        refined,
        chosen,
        statics,
        sample,
    )
    if plan:
        for run in runs:
            print(f"{run.title}: {run.state}\n  {run.command}")
        with RunsProgress("methods", runs, workers):
            pass
        return
    readme = None if readme is None else Path(readme)
    section = METHODS_SECTION if named is None else f"protocol {named.name}"
    if readme is not None:
        read_section(readme, section)
    path = out / RESULTS_FILE
    check_budgets(path, read_results(path), runs)
    require_writable(out)
    with locked(out) as lock:
        for subject in {run.subject: None for run in runs if run.state != "finished"}:
            subject.prepare(_run_command)
        run_all("methods", runs, workers, lock, lambda: gather_rows(path, runs), result_text)
        if rows := gather_rows(path, runs):
            from partnerface.benchmarks.methods.report import MARKDOWN_FILE, write_method_report
            from partnerface.benchmarks.methods.results_markdown import protocol_page

            with without_notices():
                written = [path, *write_method_report(out, rows, known)]
            text = (out / MARKDOWN_FILE).read_text().strip()
            print_wide(Markdown(text))
            if readme is not None:
                shown = text if named is None else protocol_page(rows, known)
                write_section(readme, section, shown)
                written.append(readme)
            print(*(f"  {file}" for file in written), sep="\n")
    refuse_failures("benchmark methods", runs)


def _seeds(flag: str, text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise UserError(f"--{flag} {text}: must be whole numbers with commas between, such as 0,1,2")
    return [int(word) for word in words]


def _run_command(words: list[str]) -> None:
    """Run a command of this installation.

    Raises:
        UserError: it failed and has said why.
        Terminated: after SIGTERM; the command has ended too.
    """
    from partnerface.runs.stop_signals import termination_as_exit

    # Raising lets `subprocess.run` kill its child, which SIGTERM to this process alone would leave behind.
    with termination_as_exit():
        ended = subprocess.run([sys.executable, "-m", *words])
    if ended.returncode:
        raise UserError(f"{' '.join(words)}: ended with code {ended.returncode}")
