"""The same figures on a CUDA device, where there is one; elsewhere rows that say so."""

from __future__ import annotations

import time

import torch

from partnerface.benchmarks.method_under_test import OURS, BuildMethod, MethodUnderTest
from partnerface.benchmarks.speed.convergence import head_psnr
from partnerface.benchmarks.speed.interleaving import interleaved
from partnerface.benchmarks.speed.rendering import rendering_time, square_view
from partnerface.benchmarks.speed.result_row import ResultRow, Target, measured_row, missing_row
from partnerface.benchmarks.speed.training_slices import Budget, train_steps

FRAME_SIZE = 512
FRAMES_PER_SECOND, CONVERGED = Target(">=", 60), Target("<=", 0.1)
SHORT_SECONDS, LONG_SECONDS = 300.0, 900.0
"""The floor for a converged training is five minutes; three times as long shows what was left."""

ROWS = {
    "cuda_rendering_frames_per_second": ("frames/s", FRAMES_PER_SECOND),
    "cuda_training_rays_per_second": ("rays/s", None),
    "cuda_training_against_nerface_float32": ("x", None),
    "cuda_training_against_nerface_bfloat16": ("x", None),
    "cuda_convergence": ("dB lost", CONVERGED),
}
NO_DEVICE = "no CUDA device"


def rows_without_device(reason: str = NO_DEVICE) -> list[ResultRow]:
    """Every row of a CUDA device, not measured."""
    return [missing_row(name, unit, target, reason) for name, (unit, target) in ROWS.items()]


def gpu_rendering_row(ours: MethodUnderTest, rounds: int) -> ResultRow:
    """Frames of 512x512 a second."""
    frame = square_view(ours.data.sequence, FRAME_SIZE)
    variants = {"ours": lambda: rendering_time(ours, frame, "cuda")}
    interleaved(variants, 3)
    found = interleaved(variants, rounds)["ours"]
    name = "cuda_rendering_frames_per_second"
    note = f"{FRAME_SIZE}x{FRAME_SIZE} on {torch.cuda.get_device_name()}; the aim is 400"
    return measured_row(name, [1 / d.wall for d in found], *ROWS[name], note)


def gpu_convergence_row(build: BuildMethod) -> ResultRow:
    """What five minutes of training at 512x512 lose against fifteen."""
    scores = {}
    for seconds in (SHORT_SECONDS, LONG_SECONDS):
        method = build(OURS, f"--data.image_size={FRAME_SIZE}")
        budget = Budget(seconds, time.perf_counter)
        train_steps(method, -1, device="cuda", share_done=None, callbacks=[method.refresh, budget])
        scores[f"{seconds:g}"] = head_psnr(method)
    short, long = scores.values()
    name = "cuda_convergence"
    note = f"{FRAME_SIZE}x{FRAME_SIZE}, head mask, {SHORT_SECONDS:g} against {LONG_SECONDS:g} seconds"
    return ResultRow(name, long - short, *ROWS[name], note, details={"psnr": scores})
