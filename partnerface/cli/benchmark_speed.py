"""`benchmark speed`: how fast, how large and how soon, on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from partnerface.benchmarks.method_under_test import (
    HEAD_RAYS,
    MethodBuilder,
    method_names,
    subject,
    without_notices,
)
from partnerface.errors import UserError

FRAMES, SIZE, LARGE_SIZE = 24, 128, 512
LONG_FRAMES = 240
"""Of the clip that convergence is measured on: the embedded subject as the demo shows it."""


def benchmark_speed(
    out: Path,
    json: Path | None,
    quick: bool,
    readme: Path | None,
    threads: int,
    device: str,
    memory: bool,
    quality: bool,
    convergence: bool,
    processes: bool,
) -> None:
    """Measure this installation on the embedded subject; the arguments are those of the command."""
    if threads < 1:
        raise UserError(f"--threads {threads}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from partnerface.benchmarks.markdown import SPEED, read_section
    from partnerface.benchmarks.speed.report import SpeedReport
    from partnerface.benchmarks.speed.suite import (
        QUICK,
        Effort,
        SpeedOptions,
        SpeedSuite,
        check_device,
        print_report,
    )
    from partnerface.configuration.avatar_cli import require_writable
    from partnerface.runs.environment import environment

    cuda = check_device(device)
    if readme is not None:
        read_section(Path(readme), SPEED)
    require_writable(out)
    report = SpeedReport(Path(json) if json else out / "speed.json", environment())
    options = SpeedOptions(out=out, effort=QUICK if quick else Effort(), threads=threads, cuda=cuda)
    with without_notices():
        measured = SpeedSuite(subject(out / "subject", FRAMES, SIZE, HEAD_RAYS), options, report)
        measured.run()
        if memory:
            measured.run_memory(_large_subject(out))
        if processes:
            measured.run_processes()
        long = subject(out / "long_subject", LONG_FRAMES, SIZE) if quality or convergence else None
        if quality:
            measured.run_quality(long)
        if convergence:
            measured.run_convergence(method_names(), long, _large_subject(out) if cuda else None)
    print_report(report)
    print(f"  {report.path}")
    if readme is not None:
        _write_readme(Path(readme), report.as_json(), out)


def _write_readme(readme: Path, report: dict[str, Any], out: Path) -> None:
    """Tables, and the figures that this run or an earlier one left in ``out``."""
    from partnerface.benchmarks.markdown import SPEED, write_section
    from partnerface.benchmarks.speed.markdown import FIGURES, speed_markdown

    figures = {}
    for name in FIGURES:
        if (out / f"{name}.png").is_file():
            place = f"pictures/speed_{name}.png"
            (readme.parent / "pictures").mkdir(exist_ok=True)
            shutil.copyfile(out / f"{name}.png", readme.parent / place)
            figures[name] = place
    write_section(readme, SPEED, speed_markdown(report, figures))
    print(f"  {readme}")


def _large_subject(out: Path) -> MethodBuilder:
    return subject(out / "large_subject", FRAMES, LARGE_SIZE)
