"""The command ``benchmark speed``: how fast, how large and how soon, on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from partnerface.errors import UserError

FRAMES, SIZE, LARGE_SIZE = 24, 128, 512
"""Frames of the embedded subject's clips, and their width and height in pixels."""
CONVERGENCE_FRAMES = 240
"""Frames of the clip that quality and convergence are measured on."""


def benchmark_speed(
    out: Path = Path("runs/benchmark"),
    quick: bool = False,
    readme: Path | None = None,
    json: Path | None = None,
    threads: int = 2,
    memory: bool = False,
    quality: bool = False,
    convergence: bool = False,
    processes: bool = False,
) -> None:
    """Measure the speed of this installation on this CPU; ``benchmark gpu`` measures it on a GPU.

    Args:
        out: folder of the results.
        quick: fewer repetitions and no growth curves; under a minute on two idle cores.
        readme: file that takes the tables and figures, between ``<!-- speed -->`` and
            ``<!-- speed end -->``; figures go to the folder ``pictures`` beside it.
        json: file of the results, by default ``OUT/speed.json``.
        threads: CPU threads in training.
        memory: weigh a long clip and a large frame too; needs 5 GB of disk and some minutes.
        quality: train three seeds with and without each saving too, a quarter of an hour;
            interrupted, a second run with the same ``json`` continues with the next training.
        convergence: train every method for 60 and 240 CPU seconds too, ours for 600; a second
            run with the same ``json`` continues with the next training as well.
        processes: train in two processes of one thread and in one too, two minutes.
    """
    if threads < 1:
        raise UserError(f"--threads {threads}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from partnerface.benchmarks.method_under_test import (
        HEAD_RAYS,
        embedded_subject,
        method_names,
        without_notices,
    )
    from partnerface.benchmarks.sections import SPEED_SECTION, read_section, write_section
    from partnerface.benchmarks.speed.report import FIGURES, SpeedReport, print_report, speed_markdown
    from partnerface.benchmarks.speed.suite import QUICK, Effort, SpeedSuite
    from partnerface.files.whole_files import require_writable
    from partnerface.runs.results import environment

    out = Path(out)
    readme = None if readme is None else Path(readme)
    if readme is not None:
        read_section(readme, SPEED_SECTION)
    require_writable(out)
    report = SpeedReport(Path(json) if json else out / "speed.json", environment())

    with without_notices():
        build = embedded_subject(out / "subject", FRAMES, SIZE, HEAD_RAYS)
        suite = SpeedSuite(build, report, out, QUICK if quick else Effort(), threads)
        suite.run()
        if memory:
            suite.run_memory(embedded_subject(out / "large_subject", FRAMES, LARGE_SIZE))
        if processes:
            suite.run_processes()
        if quality or convergence:
            long = embedded_subject(out / "long_subject", CONVERGENCE_FRAMES, SIZE)
        if quality:
            suite.run_quality(long)
        if convergence:
            suite.run_convergence(method_names(), long)
    print_report(report.as_json())
    print(f"  {report.path}")
    if readme is not None:
        # Figures of this run, or of an earlier one in the same folder.
        found = {name: out / f"{name}.png" for name in FIGURES if (out / f"{name}.png").is_file()}
        pictures = {name: f"pictures/speed_{name}.png" for name in found}
        for name, place in pictures.items():
            (readme.parent / "pictures").mkdir(exist_ok=True)
            shutil.copyfile(found[name], readme.parent / place)
        write_section(readme, SPEED_SECTION, speed_markdown(report.as_json(), pictures))
        print(f"  {readme}")
