"""The section ``waits``: how often the host waits for the device, and how many kernels it launches."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, supported_activities

import partnerface
from partnerface.benchmarks.gpu.bench import GpuBench
from partnerface.benchmarks.gpu.throughput import WARM_UP, AtSteps
from partnerface.benchmarks.speed.measurement import ResultRow
from partnerface.benchmarks.speed.throughput import square_view
from partnerface.benchmarks.speed.training_slices import train_steps

SYNCHRONISING = (
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy"),
    *("cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize"),
)
"""Calls of CUDA's runtime and driver in which the host waits for the device."""
COPY_TO_HOST, KERNELS, OPERATIONS = "copies to the host", "kernels", "torch operations"
STEP_WAITS, PICTURE_WAITS = 2, 10
SHORT, LONG = 1, 3
"""Repetitions of which the difference is taken: the profiler itself waits when it ends."""

Work = Callable[[int, AbstractContextManager], object]
"""Repeats something so many times inside a context."""


def waits(bench: GpuBench) -> Iterator[ResultRow]:
    """Waits and launches of a step, with its batch, and of a picture; where torch waits is in the details."""
    method, effort = bench.trained(), bench.effort
    method.data.rays_per_frame = effort.batches[1]
    size = effort.pictures[1]
    view = square_view(method.data.sequence, size).to(bench.device)

    def steps(count: int, watch: AbstractContextManager) -> None:
        stack, last = ExitStack(), WARM_UP + count
        hooks = {WARM_UP: lambda: stack.enter_context(watch), last: stack.close}
        train_steps(method, last, device=bench.device, callbacks=[AtSteps(hooks)])

    def pictures(count: int, watch: AbstractContextManager) -> None:
        avatar = method.module.to(bench.device).avatar.eval()
        avatar.render(view)
        with watch:
            for _ in range(count):
                avatar.render(view)

    batch = f"{effort.frames_per_batch}x{effort.batches[1]}"
    for name, work, bound in (
        (f"step_{batch}", steps, STEP_WAITS),
        (f"picture_{size}x{size}", pictures, PICTURE_WAITS),
    ):
        counts = counts_of_one(work)
        places = {"places": waiting_lines(work)} if ProfilerActivity.CUDA in supported_activities() else {}
        waited = sum(counts[call] for call in SYNCHRONISING)
        note = "calls in which the host waits, by torch.profiler"
        if counts[KERNELS]:
            target = bench.target("<=", bound)
            yield ResultRow(f"waits_{name}", waited, "waits", target, note, details=dict(counts) | places)
            yield ResultRow(f"copies_to_host_{name}", counts[COPY_TO_HOST], "copies")
            yield ResultRow(f"kernels_{name}", counts[KERNELS], "kernels")
        else:
            yield ResultRow(f"waits_{name}", None, "waits", None, "the profiler saw no kernel")
        yield ResultRow(f"operations_{name}", counts[OPERATIONS], "operations")


def counts_of_one(work: Work) -> Counter[str]:
    """Events of one repetition: the difference of a long and a short recording, over their difference."""
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    recorded = {}
    for count in (SHORT, LONG):
        watch = profile(activities=[kind for kind in activities if kind in supported_activities()])
        work(count, watch)
        recorded[count] = count_events(watch.events() or [])
    names = recorded[SHORT] | recorded[LONG]
    return Counter({name: (recorded[LONG][name] - recorded[SHORT][name]) / (LONG - SHORT) for name in names})


def count_events(events: list) -> Counter[str]:
    """Calls of `SYNCHRONISING` by name, copies, kernels and torch operations among a profiler's events.

    An operation that another one called does not count.
    """
    counts: Counter[str] = Counter()
    for event in events:
        on_device = event.device_type == torch.autograd.DeviceType.CUDA
        if event.name in SYNCHRONISING:
            counts[event.name] += 1
        elif event.name.startswith("Memcpy DtoH"):
            counts[COPY_TO_HOST] += 1
        elif on_device and not event.is_user_annotation and not event.name.startswith(("Memcpy", "Memset")):
            counts[KERNELS] += 1
        elif event.name.startswith("aten::"):
            parent = event.cpu_parent
            counts[OPERATIONS] += parent is None or not parent.name.startswith("aten::")
    return counts


def waiting_lines(work: Work) -> dict[str, float]:
    """Lines of Python in which torch waits for the device, and how often in one repetition.

    Waits of Warp, and copies to the device from memory that is not pinned, may be missing.
    """
    found: dict[int, Counter[str]] = {}
    for count in (SHORT, LONG):
        with warnings.catch_warnings(record=True) as seen:
            work(count, _warnings_of_waits())
        lines = (warning for warning in seen if "synchronizing" in str(warning.message))
        found[count] = Counter(f"{_short(warning.filename)}:{warning.lineno}" for warning in lines)
    more = found[LONG] - found[SHORT]
    return {place: count / (LONG - SHORT) for place, count in more.most_common()}


@contextmanager
def _warnings_of_waits() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    warnings.simplefilter("always")
    torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _short(filename: str) -> str:
    """A file's path within its package."""
    path = filename.rpartition("site-packages/")[2]
    return path.removeprefix(f"{Path(partnerface.__file__).parents[1]}/")
