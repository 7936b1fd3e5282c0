"""The section ``equality``: a training step and a picture on the device against those of the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from partnerface.benchmarks.gpu.bench import GpuBench
from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed.measurement import ResultRow
from partnerface.benchmarks.speed.throughput import square_view
from partnerface.benchmarks.speed.training_slices import MID_TRAINING
from partnerface.cameras.pinhole import pixel_rays
from partnerface.compute.cuda_support import use_exact_float32
from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import weighted_sum

FLOAT32 = "--model.avatar.field.init_args.bfloat16=false"
VISIBLE = 0.02
"""Difference of a colour from which a pixel counts as another one."""


def equality(bench: GpuBench) -> Iterator[ResultRow]:
    """Differences from the same weights and batch, in float32 and without random numbers.

    Of two places of the surface that are equally near, a device may find the other one, so that single rays
    differ: means are bounded, maxima are only reported.
    """
    use_exact_float32()
    method = bench.trained(FLOAT32)
    # Made on the host: resident frames leave a batch on the device.
    method.data.resident = False
    batch = next(iter(method.data.train_dataloader()))
    expected, found = (step_values(method, batch, device) for device in ("cpu", bench.device))
    colours, gradients = (found["colours"] - expected["colours"]).abs(), "gradients "
    yield _row("equality_colours", colours.mean(), 1e-3, bench, largest=float(colours.max()))
    statistics = {k: relative(found[k], expected[k]) for k in expected if k.startswith("statistics ")}
    yield _row("equality_statistics", max(statistics.values()), 1e-2, bench, **statistics)
    names = [name for name in expected if name.startswith(gradients)]
    single = {name: relative(found[name], expected[name]) for name in names}
    both = (torch.cat([values[name].flatten() for name in names]) for values in (found, expected))
    yield _row("equality_gradients", relative(*both), 1e-2, bench, **single)
    view = square_view(method.data.sequence, bench.effort.pictures[0])
    pictures = []
    for device in ("cpu", bench.device):
        avatar = method.module.to(device).avatar.eval()
        pictures.append(avatar.render(view.to(device)).rgb.cpu())
    difference = (pictures[1] - pictures[0]).abs()
    visible = float((difference.amax(0) > VISIBLE).float().mean())
    yield _row("equality_picture", difference.mean(), 2e-3, bench, largest=float(difference.max()))
    yield _row("equality_visible_pixels", visible, 0.02, bench)


def step_values(method: MethodUnderTest, batch: RayBatch, device: str) -> dict[str, Tensor]:
    """Colours, statistics and gradients of a training step, on the CPU, each by name.

    Jitter and noise are off: a device draws other numbers.
    """
    module, batch = method.module.to(device), batch.to(device)
    avatar = module.avatar.train()
    avatar.sampler.eval()
    avatar.driving.eval()
    avatar.training_schedule(MID_TRAINING)
    avatar.zero_grad()
    rendered = avatar(pixel_rays(batch.view.camera, batch.pixels), batch.view, batch.frame_index)
    weighted_sum(module.losses, rendered, batch)[0].backward()
    values = {"colours": rendered.rays.over(batch.background)}
    values |= {f"statistics {name}": value for name, value in rendered.deformation.values().items()}
    for name, parameter in avatar.named_parameters():
        if parameter.grad is not None:
            values[f"gradients {name}"] = parameter.grad
    return {name: value.detach().cpu().clone() for name, value in values.items()}


def relative(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected; 0 where both are zero.

    >>> relative(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]))
    0.2
    """
    difference, size = float((found - expected).norm()), float(expected.norm())
    return difference / size if size else float(difference > 0)


def _row(name: str, value: float | Tensor, bound: float, bench: GpuBench, **details: float) -> ResultRow:
    note = "against the CPU; largest differences in the details"
    return ResultRow(name, float(value), "", bench.target("<=", bound), note, details=details)
