"""The command ``benchmark gpu``: everything to be measured on the day a GPU is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from partnerface.errors import UserError


def benchmark_gpu(
    out: Path = Path("runs/gpu"),
    device: Literal["auto", "cuda", "cpu"] = "auto",
    minutes: float = 6.0,
    readme: Path | None = None,
) -> None:
    """Measure all that a GPU is good for: tests, equality with the CPU, speed, memory, waits, convergence.

    Each section runs in a process of its own with a time limit, and a second call with the same ``out``
    continues with those that are missing. Without a GPU it writes what was measured on one before.

    Args:
        out: folder of the results, ``gpu.json`` among them.
        device: ``auto`` measures on a GPU if there is one; ``cuda`` insists on it; ``cpu`` tries the
            sections in seconds, with figures that mean nothing.
        minutes: longest time of this call; convergence takes what the other sections leave.
        readme: file that takes the tables, between ``<!-- gpu -->`` and ``<!-- gpu end -->``.
    """
    if not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: must be more than 0")
    if device == "cpu" and readme is not None:
        raise UserError("--readme: the figures of --device cpu mean nothing; leave one of them out")
    # Imported here: --help need not wait for torch.
    import torch

    from partnerface.benchmarks.gpu.report import (
        NO_GPU,
        UNTRIED,
        check_one_device,
        gpu_markdown,
        print_report,
        write_report,
    )
    from partnerface.benchmarks.gpu.sections import SectionRun, planned_sections
    from partnerface.benchmarks.sections import GPU_SECTION, read_section, write_section
    from partnerface.compute.cuda_support import CudaFacts
    from partnerface.files.whole_files import require_writable
    from partnerface.runs.engine import locked, refuse_failures, run_all

    obstacle = None if device == "cpu" else CudaFacts.found().obstacle()
    if device == "cuda" and obstacle is not None:
        raise UserError(f"--device cuda: {obstacle}; or choose cpu for a rehearsal")
    out, readme = Path(out), None if readme is None else Path(readme)
    if readme is not None:
        read_section(readme, GPU_SECTION)
    kind = "cpu" if device == "cpu" else "cuda"
    path = out / ("rehearsal.json" if kind == "cpu" else "gpu.json")
    require_writable(out)
    with locked(out) as lock:
        runs = planned_sections(out / kind, kind, minutes)
        if obstacle is None:
            check_one_device(runs, out, "cpu" if kind == "cpu" else torch.cuda.get_device_name())
            run_all("gpu", runs, 1, lock, lambda: write_report(path, runs, UNTRIED), SectionRun.result)
        report = write_report(path, runs, UNTRIED if obstacle is None else NO_GPU)
    # `refuse_failures` lists those that failed in this call.
    print_report(report, "waiting", "interrupted", *([] if obstacle is None else ["failed"]))
    print(f"  {path}")
    if readme is not None:
        write_section(readme, GPU_SECTION, gpu_markdown(report))
        print(f"  {readme}")
    if obstacle is not None:
        print(f"no GPU was used: {obstacle}")
    else:
        refuse_failures("benchmark gpu", runs)
