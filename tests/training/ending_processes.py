"""Pairs of processes (gloo) that end right after a collective; prints their exit codes.

usage: ending_processes.py PAIRS FOLDER
"""

import gc
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from partnerface.training.distributed import outlast_collectives


def collect(rank: int, meeting: Path) -> None:
    """Without the interval a thread that needs Python waits 5 ms for its turn, and most get it in time."""
    outlast_collectives()
    sys.setswitchinterval(10)
    dist.init_process_group("gloo", store=dist.FileStore(str(meeting), 2), rank=rank, world_size=2)
    for _ in range(3):
        dist.all_reduce(torch.ones(3))


def run_pairs(pairs: int, folder: Path) -> None:
    """One pair after the other; a forked process returns from here, and ends as any program does."""
    codes = []
    # A child would copy everything that is imported when it collects garbage at its end.
    gc.freeze()
    for pair in range(pairs):
        for rank in range(2):
            if os.fork() == 0:
                collect(rank, folder / f"pair{pair}")
                return
        codes += [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)]
    print(codes)


if __name__ == "__main__":
    run_pairs(int(sys.argv[1]), Path(sys.argv[2]))
