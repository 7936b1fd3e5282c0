"""Time of one training step and of one rendered frame by stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

import partnerface.avatar.avatar as pipeline
from partnerface.avatar.avatar import Avatar
from partnerface.avatar.voxel_map import VoxelMap
from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed.interleaving import duration_of, synchronise
from partnerface.benchmarks.speed.stage_clock import StageClock, TimedMethod, stage_table
from partnerface.benchmarks.speed.training_slices import StageCallback, train_steps
from partnerface.compute.threads import single_thread
from partnerface.data.view import View

COMPOSITING, UNCLAIMED = "compositing, gathering", "between stages"


def avatar_stages(avatar: Avatar) -> list[TimedMethod]:
    """The stages of the method, in its order; time outside of the parts counts as compositing."""
    return [
        TimedMethod(avatar, "forward", COMPOSITING),
        TimedMethod(avatar, "render_image", COMPOSITING),
        TimedMethod(avatar, "sample", COMPOSITING),
        TimedMethod(avatar, "shade", COMPOSITING),
        TimedMethod(avatar, "pose_frames", "posing"),
        TimedMethod(avatar.head_model, "forward", "posing"),
        TimedMethod(avatar.sampler, "bounds", "refit, surface cells"),
        TimedMethod(avatar.skinning, "posed_surface", "refit, surface cells"),
        TimedMethod(avatar.sampler, "forward", "ray sampling", counts_points=True),
        TimedMethod(avatar.skinning, "forward", "inverse skinning", counts_points=True),
        TimedMethod(avatar.skinning, "with_gradient", "inverse skinning"),
        TimedMethod(pipeline, "picture_map", "voxels: building"),
        TimedMethod(VoxelMap, "__call__", "voxels: interpolating"),
        TimedMethod(avatar.deformation, "forward", "deformation bank", counts_points=True),
        TimedMethod(avatar.field, "forward", "field heads", counts_points=True),
        TimedMethod(avatar.field, "density", "field heads", counts_points=True),
        TimedMethod(avatar.field.grid, "forward", "hash encoding", counts_points=True),
        TimedMethod(avatar.torso, "forward", "torso", counts_points=True),
    ]


def stage_seconds(device: str) -> Callable[[], float]:
    """Clock for a profile: CPU time of the calling thread; on CUDA wall time until the device is done."""
    if device == "cpu":
        return time.thread_time

    def now() -> float:
        synchronise(device)
        return time.perf_counter()

    return now


def training_profile(method: MethodUnderTest, steps: int, device: str = "cpu") -> list[dict[str, Any]]:
    """Rows of `stage_table` for one training step, on one CPU thread."""
    clock, warm = StageClock(stage_seconds(device)), StageClock(stage_seconds(device))
    losses = [TimedMethod(loss, "forward", "losses") for loss in method.module.losses.values()]
    with single_thread():
        train_steps(method, 2, device=device, callbacks=[StageCallback(warm)])
        with clock.timing([*avatar_stages(method.module.avatar), *losses]):
            train_steps(method, steps, device=device, callbacks=[StageCallback(clock)])
    return stage_table(clock, steps)


def rendering_profile(
    method: MethodUnderTest, view: View, frames: int, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Rows of `stage_table` for one rendered frame, summed over the threads that render it."""
    avatar, view = method.module.to(device).avatar.eval(), view.to(device)
    clock = StageClock(stage_seconds(device))
    with torch.no_grad(), single_thread():
        avatar.render_image(view)
        with clock.timing(avatar_stages(avatar)):
            taken = duration_of(lambda: [avatar.render_image(view) for _ in range(frames)], device)
    whole = taken.cpu if device == "cpu" else taken.wall
    # Threads also work outside of every stage.
    clock.seconds[UNCLAIMED] = max(whole - sum(clock.seconds.values()), 0.0)
    return stage_table(clock, frames)
