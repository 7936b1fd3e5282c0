"""The command ``benchmark``: methods against each other, or this installation's speed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

from partnerface.errors import UserError

SUITES = {"methods": Path("runs/methods"), "speed": Path("runs/benchmark")}
SHARED = {"suite", "out", "quick", "readme"}
OF_SPEED = {"json", "threads", "device", "memory", "quality", "convergence", "processes"}


def benchmark(
    suite: str = "methods",
    out: Path | None = None,
    quick: bool = False,
    methods: str | None = None,
    subjects: str = "synthetic_a,synthetic_b",
    seeds: str = "0,1,2",
    clip_seeds: str = "0",
    cpu_seconds: float = 60.0,
    clip_cpu_seconds: float = 240.0,
    steps: int | None = None,
    workers: int = 2,
    refined: bool = False,
    readme: Path | None = None,
    plan: bool = False,
    json: Path | None = None,
    threads: int = 2,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    memory: bool = False,
    quality: bool = False,
    convergence: bool = False,
    processes: bool = False,
) -> None:
    """Compare methods under one compute budget (suite ``methods``), or measure speed (suite ``speed``).

    Both can be interrupted; a second call with the same ``out`` repeats nothing that has finished.

    Args:
        suite: ``methods``: every method, subject and seed, to ``OUT/results.json`` with tables and
            figures. ``speed``: this installation on this machine, to ``OUT/speed.json``.
        out: folder of the results, by default ``runs/methods`` or ``runs/benchmark``.
        quick: methods: 20 steps on frames of 32x32, does everything run? speed: fewer repetitions and no
            growth curves; under a minute on two idle cores.
        methods: (methods) names of files in ``configs/method``, by default all, with commas between.
            ``part_deformation:parts=1/2/4`` makes a variant of each value.
        subjects: (methods) ``synthetic_a``, ``synthetic_b``, tracked datasets and videos.
        seeds: (methods) seeds of the embedded subjects.
        clip_seeds: (methods) seeds of all others.
        cpu_seconds: (methods) CPU seconds of training on the embedded subjects, 128x128.
        clip_cpu_seconds: (methods) CPU seconds of training on the others, 256 pixels.
        steps: (methods) steps of training in place of CPU seconds.
        workers: (methods) runs at once, each on one core.
        refined: (methods) score with test parameters fitted to the test frames as well.
        readme: file that takes the tables and figures, between ``<!-- results -->`` and
            ``<!-- results end -->``, or ``<!-- speed -->`` and ``<!-- speed end -->``; figures go to the
            folder ``pictures`` beside it.
        plan: (methods) only say what would be run and how long it takes.
        json: (speed) file of the results, by default ``OUT/speed.json``.
        threads: (speed) CPU threads in training.
        device: (speed) ``auto`` measures on a CUDA device too, if there is one; ``cuda`` insists on it.
        memory: (speed) weigh a long clip and a large frame too; needs 5 GB of disk and some minutes.
        quality: (speed) train three seeds with and without each saving too, a quarter of an hour;
            interrupted, a second run with the same ``json`` goes on with the next training.
        convergence: (speed) train every method for 60 and 240 CPU seconds too, ours for 600; a second
            run with the same ``json`` goes on with the next training as well.
        processes: (speed) train in two processes of one thread and in one too, two minutes.
    """
    given = dict(locals())
    if suite not in SUITES:
        raise UserError(f"benchmark {suite}: there is no such suite; choose {', '.join(SUITES)}")
    _refuse_flags_of_others(given)
    out = SUITES[suite] if out is None else Path(out)
    if suite == "speed":
        from partnerface.cli.benchmark_speed import benchmark_speed

        benchmark_speed(out, quick=quick, readme=readme, **{name: given[name] for name in OF_SPEED})
        return
    from partnerface.cli.benchmark_methods import MethodsOptions, benchmark_methods

    own = {name: value for name, value in given.items() if name not in OF_SPEED | {"suite", "out"}}
    benchmark_methods(MethodsOptions(out=out, **own))


def _refuse_flags_of_others(given: dict[str, Any]) -> None:
    """A flag of the other suite would be passed over in silence."""
    suite = given["suite"]
    parameters = inspect.signature(benchmark).parameters
    others = parameters.keys() - SHARED - OF_SPEED if suite == "speed" else OF_SPEED
    for name in sorted(others):
        if given[name] != parameters[name].default:
            other = "methods" if suite == "speed" else "speed"
            raise UserError(f"--{name}: belongs to benchmark {other}, not to benchmark {suite}")
