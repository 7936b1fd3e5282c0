"""What has to be measured in new processes: peak memory, and training in two processes against one."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from partnerface.benchmarks.method_under_test import OURS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.growth import repeated_flags
from partnerface.benchmarks.speed.measurement import (
    Duration,
    ResultRow,
    Target,
    interleaved,
    measured_row,
    ratios,
)
from partnerface.benchmarks.speed.throughput import rays_per_step, rendering_time, square_view
from partnerface.benchmarks.speed.training_slices import set_up, timed_steps, train_steps


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


LONG_FRAMES, LONG_SIZE = 3000, 512
LARGE_FRAME_SIZE = 1024
FRAMES_PER_STEP = 2


def memory_rows(build: MethodBuilder, long_build: MethodBuilder) -> list[ResultRow]:
    """Memory of training on a long clip and of rendering a large frame, each in a new process.

    Args:
        build: builds methods on the embedded subject.
        long_build: builds methods on the embedded subject at `LONG_SIZE`.
    """
    clip = f"{LONG_FRAMES} frames of {LONG_SIZE}x{LONG_SIZE}, every one visited, memory-mapped"
    frame = f"one frame of {LARGE_FRAME_SIZE}x{LARGE_FRAME_SIZE}"
    rows = []
    for name, work, builder, gigabytes, note in (
        ("memory_training", train_long, long_build, 3.0, clip),
        ("memory_rendering", render_large, build, 2.0, frame),
    ):
        peak = in_new_process(work, builder)
        details = {"anonymous_gb_at_end": peak.anonymous}
        rows.append(
            ResultRow(name, peak.resident, "GB resident", Target("<=", gigabytes), note, details=details)
        )
    return rows


def train_long(build: MethodBuilder) -> None:
    """Train on a long clip until every frame has been in a batch."""
    method = build(OURS, f"--data.image_size={LONG_SIZE}", *repeated_flags(LONG_FRAMES))
    train_steps(method, -(-len(method.data.train_frames) // FRAMES_PER_STEP))


def render_large(build: MethodBuilder) -> None:
    """Render one large frame before any pruning, which takes the most memory."""
    method = build(OURS)
    set_up(method)
    rendering_time(method, square_view(method.data.sequence, LARGE_FRAME_SIZE))


PROCESSES = 2
SCALING = Target(">=", 1.8)
SCALING_STEPS, WARM_UP = 40, 5


def scaling_row(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> ResultRow:
    """Rays per second of two processes over those of one, each with one thread and a batch of its own."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "avatar.pt"
        torch.save(trained.module.avatar.state_dict(), weights)

        task = build, trained.name, weights, steps
        variants = {str(n): lambda n=n: _in_processes(n, *task) for n in (1, PROCESSES)}
        found = interleaved(variants, rounds)
    rays = rays_per_step(trained)
    rates = {name: [int(name) * rays / step.wall for step in found[name]] for name in found}
    return measured_row(
        "training_two_processes_against_one",
        ratios(rates[str(PROCESSES)], rates["1"]),
        "x",
        SCALING,
        f"DDP with gloo on this CPU, one thread each, {rays} rays a step and process, wall time",
        rays_per_second={f"{name} processes": values for name, values in rates.items()},
    )


def _in_processes(processes: int, *task: Any) -> Duration:
    """Mean duration of a step in new interpreters, which meet at a TCP port; for ``task`` see `_train`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        started = [pool.submit(_train, rank, processes, port, *task) for rank in range(processes)]
        first, *_ = [training.result() for training in started]
        return first


def _train(
    rank: int, processes: int, port: int, build: MethodBuilder, name: str, weights: Path, steps: int
) -> Duration:
    """Time steps of a method with given ``weights``, so that all sample the same pruned space."""
    torch.set_num_threads(1)
    method = build(name)
    set_up(method)
    method.module.avatar.load_state_dict(torch.load(weights, weights_only=True))
    if processes > 1:
        place = {"LOCAL_RANK": rank, "NODE_RANK": 0, "OMP_NUM_THREADS": 1}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
    return timed_steps(method, steps, warm_up=WARM_UP, processes=processes)
