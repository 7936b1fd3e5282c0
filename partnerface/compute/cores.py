"""usable_cores: how many cores this process may use, which is not how many the machine has."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that the scheduler grants this process: under SLURM or in a container often a few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
