"""Rendering and convergence on a CUDA device; elsewhere rows without values that say so."""

from __future__ import annotations

import time

import torch

from partnerface.benchmarks.method_under_test import OURS, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.convergence import head_psnr
from partnerface.benchmarks.speed.interleaving import interleaved
from partnerface.benchmarks.speed.rendering import rendering_time, square_view
from partnerface.benchmarks.speed.result_row import ResultRow, Target, measured_row, missing_row
from partnerface.benchmarks.speed.training_slices import SecondsBudget, train_steps

CUDA_FRAME_SIZE = 512
CUDA_FRAMES_PER_SECOND, CUDA_CONVERGENCE_LOSS = Target(">=", 60), Target("<=", 0.1)
SHORT_SECONDS, LONG_SECONDS = 300.0, 900.0
"""A training should converge in five minutes; three times as long shows what it still had to gain."""

ROWS = {
    "cuda_rendering_frames_per_second": ("frames/s", CUDA_FRAMES_PER_SECOND),
    "cuda_training_rays_per_second": ("rays/s", None),
    "cuda_training_against_nerface_float32": ("x", None),
    "cuda_training_against_nerface_bfloat16": ("x", None),
    "cuda_convergence": ("dB lost", CUDA_CONVERGENCE_LOSS),
}
NO_DEVICE = "no CUDA device"


def rows_without_device(reason: str = NO_DEVICE) -> list[ResultRow]:
    """All rows of a CUDA device, without values.

    Args:
        reason: why they were not measured.
    """
    return [missing_row(name, unit, target, reason) for name, (unit, target) in ROWS.items()]


def gpu_rendering_row(ours: MethodUnderTest, rounds: int) -> ResultRow:
    """Frames of 512x512 rendered per second."""
    view = square_view(ours.data.sequence, CUDA_FRAME_SIZE)
    variants = {"ours": lambda: rendering_time(ours, view, "cuda")}
    interleaved(variants, 3)
    found = interleaved(variants, rounds)["ours"]
    name = "cuda_rendering_frames_per_second"
    note = f"{CUDA_FRAME_SIZE}x{CUDA_FRAME_SIZE} on {torch.cuda.get_device_name()}; the aim is 400"
    return measured_row(name, [1 / d.wall for d in found], *ROWS[name], note)


def gpu_convergence_row(build: MethodBuilder) -> ResultRow:
    """PSNR in dB that five minutes of training at 512x512 lose against fifteen."""
    scores = {}
    for seconds in (SHORT_SECONDS, LONG_SECONDS):
        method = build(OURS, f"--data.image_size={CUDA_FRAME_SIZE}")
        budget = SecondsBudget(seconds, time.perf_counter)
        train_steps(method, -1, device="cuda", progress=0.0, callbacks=[method.refresh, budget])
        scores[f"{seconds:g}"] = head_psnr(method)
    short, long = scores.values()
    name = "cuda_convergence"
    note = (
        f"{CUDA_FRAME_SIZE}x{CUDA_FRAME_SIZE}, head mask, {SHORT_SECONDS:g} against {LONG_SECONDS:g} seconds"
    )
    return ResultRow(name, long - short, *ROWS[name], note, details={"psnr": scores})
