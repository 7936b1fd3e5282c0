"""Sections of `benchmark gpu` that measure time and memory: training, rendering, stages, convergence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.benchmarks.gpu.bench import GpuBench
from partnerface.benchmarks.method_under_test import HEAD_RAYS, OURS, MethodUnderTest
from partnerface.benchmarks.speed.measurement import (
    ResultRow,
    duration_of,
    interleaved,
    measured_row,
    synchronise,
)
from partnerface.benchmarks.speed.quality import head_psnr, scored_frames, seconds_until
from partnerface.benchmarks.speed.stages import rendering_profile, training_profile
from partnerface.benchmarks.speed.throughput import (
    against_nerface,
    nerface_by_type,
    rates,
    rays_per_step,
    refresh_share,
    rendering_time,
    square_view,
)
from partnerface.benchmarks.speed.training_slices import (
    ScoresDuringTraining,
    SecondsBudget,
    StepTimer,
    train_steps,
)
from partnerface.errors import UserError

Rows = Iterator[ResultRow]
WARM_UP = 6
"""Steps or pictures before the clock starts; in them a step is recorded."""


class AtSteps(Callback):
    """Calls functions without arguments at the ends of training steps, by the number of steps done."""

    def __init__(self, hooks: Mapping[int, Callable[[], object]]) -> None:
        self.hooks = hooks

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        if hook := self.hooks.get(trainer.global_step):
            hook()


def training(bench: GpuBench, recorded: bool = False) -> Rows:
    """Rays per second as in a run, with batches loaded while the device works, and a step alone.

    ``recorded``: replay steps as a CUDA graph.
    """
    method, effort, prefix = bench.trained(), bench.effort, "recorded_" if recorded else ""
    method.module.cuda_graphs = recorded
    for rays in effort.batches:
        method.data.rays_per_frame = rays
        batch, count = f"{effort.frames_per_batch}x{rays}", rays_per_step(method)
        name, unit = f"{prefix}training_rays_per_second_{batch}", "rays/s"
        try:
            rays_per_second = [count / seconds for seconds in _seconds_of_a_step(bench, method)]
            note = f"{count} rays that hit the head in a step, loading included, pruning not"
            yield measured_row(name, rays_per_second, unit, None, note)
            timer = StepTimer(WARM_UP, bench.device)
            train_steps(method, WARM_UP + effort.steps, device=bench.device, callbacks=[timer])
            milliseconds = [1000 * step.wall for step in timer.steps]
            yield measured_row(
                f"{prefix}training_step_{batch}", milliseconds, "ms", None, "waited for, not loaded"
            )
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            yield ResultRow(name, None, unit, None, "the GPU's memory is full")
    if recorded:
        return
    pruning = [refresh_share(method, bench.device) for _ in range(effort.rounds + 1)][1:]
    yield measured_row("pruning_of_a_step", [1000 * share.wall for share in pruning], "ms")


def _seconds_of_a_step(bench: GpuBench, method: MethodUnderTest) -> list[float]:
    """Time of a step among others in each round of one training; only the ends of rounds are waited for.

    Raises:
        UserError: steps were to be recorded, and are not.
    """
    marks: list[float] = []

    def mark() -> None:
        recorded = method.module.recorded_step
        if recorded is not None and recorded.refused:
            raise UserError(f"steps are not recorded as a CUDA graph: {recorded.refused}")
        synchronise(bench.device)
        marks.append(time.perf_counter())

    steps = bench.effort.steps
    ends = [WARM_UP + number * steps for number in range(bench.effort.rounds + 1)]
    train_steps(method, ends[-1], device=bench.device, callbacks=[AtSteps(dict.fromkeys(ends, mark))])
    return [(end - start) / steps for start, end in pairwise(marks)]


def nerface(bench: GpuBench) -> Rows:
    """Rays per second against NeRFace, with its fields in float32 and bfloat16."""
    effort = bench.effort
    ours = bench.trained()
    ours.data.rays_per_frame = effort.batches[1]
    size, rays = f"--data.image_size={effort.image_size}", f"--data.rays_per_frame={effort.peer_rays}"
    peers = nerface_by_type(bench.clip(HEAD_RAYS), size, rays, *effort.peer_flags, device=bench.device)
    rows = against_nerface(ours, peers, effort.rounds, effort.steps, 1, bench.device)
    yield from (replace(row, target=None, by_cpu_time=[]) for row in rows if "nerface" in row.name)


def rendering(bench: GpuBench) -> Rows:
    """Pictures per second, each of them waited for."""
    method, effort = bench.trained(), bench.effort
    for size in effort.pictures:
        view = square_view(method.data.sequence, size)
        variants = {"ours": partial(rendering_time, method, view, bench.device)}
        interleaved(variants, WARM_UP)
        frames, _ = rates(interleaved(variants, 4 * effort.rounds)["ours"])
        target = bench.target(">=", 200) if size == 512 else None
        yield measured_row(f"rendering_{size}x{size}", frames, "frames/s", target, "each waited for")


def profile(bench: GpuBench) -> Rows:
    """Stages of a step and of a picture; waiting for the device after each makes them slower in sum."""
    method, effort = bench.trained(), bench.effort
    method.data.rays_per_frame = effort.batches[1]
    size = effort.pictures[1]
    view = square_view(method.data.sequence, size)
    batch = f"{effort.frames_per_batch}x{effort.batches[1]}"
    for name, stages in (
        (f"stages_of_a_step_{batch}", training_profile(method, effort.steps, bench.device)),
        (f"stages_of_a_picture_{size}x{size}", rendering_profile(method, view, effort.steps, bench.device)),
    ):
        total = sum(row["milliseconds"] for row in stages)
        yield ResultRow(name, total, "ms", None, "waited for at each stage", details={"stages": stages})


def memory(bench: GpuBench) -> Rows:
    """Peak of torch's allocator in a step and in a picture; Warp's own is in what the device has in use."""
    method, effort = bench.trained(), bench.effort
    for rays in effort.batches:
        method.data.rays_per_frame = rays
        batch = f"{effort.frames_per_batch}x{rays}"
        steps = partial(train_steps, method, WARM_UP, device=bench.device)
        yield _peak_row(f"memory_step_{batch}", steps)
    for size in effort.pictures:
        view = square_view(method.data.sequence, size)
        yield _peak_row(f"memory_{size}x{size}", partial(rendering_time, method, view, bench.device))


def _peak_row(name: str, work: Callable[[], object]) -> ResultRow:
    unit = "GB"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        duration_of(work, "cuda")
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return ResultRow(name, None, unit, None, "the GPU's memory is full")
    free, total = torch.cuda.mem_get_info()
    details = {"in_use_on_the_device": (total - free) / 1e9}
    return ResultRow(name, torch.cuda.max_memory_allocated() / 1e9, unit, None, "", details=details)


TRAINING_SHARE, FINISH_SECONDS, LEAST_SECONDS = 0.8, 12.0, 10.0
"""Share of the time left that is training, beside the scores; what start and end of the process need; the
least training whose convergence means anything on a GPU."""
MARKS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a training at which it is scored."""
NEAR_DB = 0.1
"""A training has converged where its score is so near to the last one."""
CONVERGED_SECONDS = 90.0


def convergence(bench: GpuBench, scale: str) -> Rows:
    """Seconds until the PSNR of validation frames is near that of the end, in the time that is left.

    Raises:
        UserError: too little is left for a training.
    """
    effort, size = bench.effort, bench.effort.convergence[scale]
    build, flags = bench.clip(), [f"--data.image_size={size}", "--data.batches_per_epoch=10000"]
    method = build(OURS, *flags, *effort.flags, scale=scale)
    seconds = min(TRAINING_SHARE * (bench.seconds_left - FINISH_SECONDS), effort.training_seconds)
    if seconds < min(LEAST_SECONDS, effort.training_seconds):
        raise UserError("too little of --minutes was left for a training")
    budget = SecondsBudget(seconds, time.perf_counter)
    marks = [share * seconds for share in MARKS]
    scores = ScoresDuringTraining(partial(head_psnr, method), budget, marks)
    last: list[float] = []

    class LastScore(Callback):
        """Scores on the device: after training the weights are on the CPU."""

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            last.append(head_psnr(method))

    train_steps(
        method,
        -1,
        device=bench.device,
        progress=0.0,
        callbacks=[method.refresh, budget, scores, LastScore()],
    )
    curve = [*scores.found, (budget.spent, last[0])]
    frames = sum(1 for _ in scored_frames(method.data))
    note = f"scale/{scale}, {budget.spent:.0f} s and {budget.steps} steps of training, {frames} frames"
    yield convergence_row(f"convergence_{size}x{size}", curve, bench, size, note)
    yield ResultRow(f"psnr_{size}x{size}", last[0], "dB", None, f"head mask, {note}")


def convergence_row(
    name: str, curve: Sequence[tuple[float, float]], bench: GpuBench, size: int, note: str
) -> ResultRow:
    """Seconds until a curve of seconds and PSNR is within `NEAR_DB` of its end."""
    near = seconds_until(curve[-1][1] - NEAR_DB, curve)
    target = bench.target("<=", CONVERGED_SECONDS) if size == 512 else None
    return ResultRow(name, near, "s", target, note, details={"curve": [list(point) for point in curve]})
