"""Peak memory of a piece of work in a new process. Imports nothing heavy, which would count too."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PeakMemory:
    """Resident memory in GB.

    Attributes:
        resident: peak, with pages of mapped files.
        anonymous: at the end, without pages of mapped files, which can be dropped; None if unknown.
    """

    resident: float
    anonymous: float | None


def in_new_process(work: Callable[[Any], object], argument: Any) -> PeakMemory:
    """Run ``work(argument)`` in a new interpreter and return the memory of that process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run_and_weigh, work, argument).result()


def _run_and_weigh(work: Callable[[Any], object], argument: Any) -> PeakMemory:
    work(argument)
    return peak_memory()


def peak_memory(status: Path = Path("/proc/self/status")) -> PeakMemory:
    """Memory of this process.

    Args:
        status: file of the Linux kernel; without it the peak is that of ``getrusage``, which includes the
            peak of the parent process.
    """
    try:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return PeakMemory(_gigabytes(lines["VmHWM"]), _gigabytes(lines["RssAnon"]))
    except (OSError, KeyError):
        return PeakMemory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, None)


def _gigabytes(kilobytes: str) -> float:
    """Convert the kernel's ``123 kB``, of 1024 bytes each, to units of 1e9 bytes."""
    return int(kilobytes.split()[0]) * 1024 / 1e9
