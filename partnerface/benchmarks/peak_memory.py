"""Peak memory of a piece of work, in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from partnerface.benchmarks.growth import repeated_flags
from partnerface.benchmarks.method_under_test import BuildMethod
from partnerface.benchmarks.rendering_speed import FrameToRender
from partnerface.benchmarks.result_row import ResultRow, Target
from partnerface.benchmarks.training_slices import set_up, train_steps

TRAINING_BYTES, RENDERING_BYTES = Target("<=", 3.0), Target("<=", 2.0)
LONG_FRAMES, LONG_SIZE = 3000, 512
LARGE_SIZE = 1024
VISITS_PER_STEP = 2


@dataclass(frozen=True)
class PeakMemory:
    """Resident memory in GB.

    Attributes:
        resident: the largest that it was, pages of mapped files included.
        anonymous: at the end, without pages of mapped files: what cannot be dropped and read again.
    """

    resident: float
    anonymous: float | None


def memory_rows(build: BuildMethod, long_build: BuildMethod) -> list[ResultRow]:
    """A long clip in training and a large frame in rendering, each in a new process.

    Args:
        build: methods on the embedded subject.
        long_build: methods on the embedded subject at `LONG_SIZE`.
    """
    training = in_new_process(train_long, long_build)
    rendering = in_new_process(render_large, build)
    frames = f"{LONG_FRAMES} frames of {LONG_SIZE}x{LONG_SIZE}"
    return [
        _row("memory_training", training, TRAINING_BYTES, f"{frames}, every one visited, memory-mapped"),
        _row("memory_rendering", rendering, RENDERING_BYTES, f"one frame of {LARGE_SIZE}x{LARGE_SIZE}"),
    ]


def _row(name: str, peak: PeakMemory, target: Target, note: str) -> ResultRow:
    details = {"anonymous_gb_at_end": peak.anonymous}
    return ResultRow(name, peak.resident, "GB resident", target, note, details=details)


def in_new_process(work: Callable[[BuildMethod], None], build: BuildMethod) -> PeakMemory:
    """Run ``work(build)`` in a new interpreter, so that nothing of this process counts."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run_and_weigh, work, build).result()


def train_long(build: BuildMethod) -> None:
    """Train on a long clip until every frame was visited."""
    method = build("part_deformation", f"--data.image_size={LONG_SIZE}", *repeated_flags(LONG_FRAMES))
    train_steps(method, -(-len(method.data.train_frames) // VISITS_PER_STEP))


def render_large(build: BuildMethod) -> None:
    """Render one large frame before anything is pruned: the worst case."""
    method = build("part_deformation")
    set_up(method)
    FrameToRender.of(method.data.sequence, LARGE_SIZE).timed(method)


def _run_and_weigh(work: Callable[[BuildMethod], None], build: BuildMethod) -> PeakMemory:
    work(build)
    return peak_memory()


def peak_memory(status: Path = Path("/proc/self/status")) -> PeakMemory:
    """Of this process.

    The resource usage, taken where there is no such file, also counts the peak of the parent process.
    """
    try:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return PeakMemory(_gigabytes(lines["VmHWM"]), _gigabytes(lines["RssAnon"]))
    except (OSError, KeyError):
        return PeakMemory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, None)


def _gigabytes(kilobytes: str) -> float:
    """``123 kB`` of the kernel, which means 1024 bytes, in 1e9 bytes."""
    return int(kilobytes.split()[0]) * 1024 / 1e9
