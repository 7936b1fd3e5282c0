"""The runs of a benchmark of methods: every method, subject, seed and start of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from partnerface.benchmarks.method_under_test import ORACLE
from partnerface.benchmarks.methods.compared import BenchmarkSubject, MethodVariant
from partnerface.benchmarks.methods.run import (
    CONVERGED,
    SCRATCH,
    BenchmarkRun,
    ComputeBudget,
    method_arguments,
    statics_of,
)
from partnerface.errors import UserError


def planned_runs(
    variants: Sequence[MethodVariant],
    subjects: Sequence[BenchmarkSubject],
    seeds: Mapping[bool, Sequence[int]],
    budget_of: Callable[[BenchmarkSubject], ComputeBudget],
    out: Path,
    refined: bool,
    starts: Sequence[str] = (SCRATCH,),
    statics: float = 1.0,
    sample: int | None = None,
) -> list[BenchmarkRun]:
    """Every variant on every subject with every seed; seed by seed, so that tables fill evenly.

    Embedded subjects have the ``seeds`` of True, all others those of False. The oracle runs on embedded
    subjects alone: of others the true motion is not known. A method without a deformation starts from scratch
    alone.

    Args:
        variants: the methods.
        subjects: the people.
        seeds: seeds by whether a subject is an embedded one.
        budget_of: the budget of a method on a subject.
        out: folder of the benchmark.
        refined: test a second time with head parameters fitted to the test frames.
        starts: `SCRATCH`, `CONVERGED` or both.
        statics: budget of the training with skinning alone, in budgets of a method.
        sample: test on so many frames of each split alone; None for all.

    Raises:
        UserError: nothing is left to run.
    """
    runs: list[BenchmarkRun] = []
    for seed in sorted({*seeds[True], *seeds[False]}):
        for subject in subjects:
            if seed not in seeds[subject.is_synthetic]:
                continue
            budget = budget_of(subject)
            shared = subject, seed, budget, out, refined, sample
            chosen = [v for v in variants if subject.is_synthetic or v.method != ORACLE]
            moving = [v for v in chosen if "deformation" in method_arguments(v)]
            if CONVERGED in starts:
                longer = subject, seed, budget.times(statics), out
                names = {variant: statics_of(variant) for variant in moving}
                first = {name: BenchmarkRun(name, *longer, tested=False) for name in names.values()}
                runs += [*first.values(), *(BenchmarkRun(v, *shared, after=first[names[v]]) for v in moving)]
            if SCRATCH in starts:
                runs += [BenchmarkRun(variant, *shared) for variant in chosen]
    if not runs:
        raise UserError(
            f"--methods {','.join(map(str, variants))}: nothing to run on "
            f"{', '.join(person.name for person in subjects)}; the oracle needs an embedded subject such as "
            f"synthetic_c, whose true motion is known, and NeRFace the start '{SCRATCH}'"
        )
    # Trainings from which others start come first, so that no worker waits for one.
    return sorted(runs, key=lambda run: run.tested)
