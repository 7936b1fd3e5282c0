"""Time of one training step and of one rendered frame by stages: methods of the parts are wrapped."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch import Callback

import partnerface.avatar.avatar as pipeline
from partnerface.avatar.avatar import Avatar
from partnerface.avatar.voxel_map import VoxelMap
from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed.measurement import duration_of, synchronise
from partnerface.benchmarks.speed.training_slices import train_steps
from partnerface.compute.threads import single_thread
from partnerface.data.view import View


@dataclass(frozen=True)
class TimedMethod:
    """A method whose time counts for a stage.

    Attributes:
        owner: the object, class or module that has it.
        method: its name.
        stage: name of the stage.
        counts_points: whether the rows of its first tensor argument are counted as points of the stage.
    """

    owner: Any
    method: str
    stage: str
    counts_points: bool = False


class StageClock:
    """Adds up the time of nested stages, in which each moment counts for the innermost one.

    Threads nest their stages independently. With the CPU time of the calling thread as clock, the times
    of all stages sum to the CPU time of all threads.

    Args:
        now: clock, in seconds.

    Attributes:
        seconds: by stage.
        points: by stage, for those that count them.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._nesting = threading.local()
        self.seconds: Counter[str] = Counter()
        self.points: Counter[str] = Counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a stage; the one around it pauses."""
        now, stack = self._now(), self._stack()
        if stack:
            self._charge(now)
        stack.append(name)
        self._nesting.since = now

    def leave(self) -> None:
        """End the innermost stage of this thread."""
        self._charge(self._now())
        self._stack().pop()

    def _stack(self) -> list[str]:
        if not hasattr(self._nesting, "stack"):
            self._nesting.stack = []
        return self._nesting.stack

    def _charge(self, now: float) -> None:
        with self._lock:
            self.seconds[self._stack()[-1]] += now - self._nesting.since
        self._nesting.since = now

    @contextmanager
    def timing(self, methods: list[TimedMethod]) -> Iterator[None]:
        """Time these methods inside the block; those that their owner does not have are left out."""
        with ExitStack() as patches:
            for timed in methods:
                if hasattr(timed.owner, timed.method):
                    # Puts back what it found, on an instance, a class or a module.
                    patches.enter_context(patch.object(timed.owner, timed.method, self._wrapped(timed)))
            yield

    def _wrapped(self, timed: TimedMethod) -> Callable:
        original = getattr(timed.owner, timed.method)

        @functools.wraps(original)
        def method(*args, **kwargs):
            if timed.counts_points:
                points = next((v.numel() // v.shape[-1] for v in args if isinstance(v, torch.Tensor)), 0)
                with self._lock:
                    self.points[timed.stage] += points
            with self.stage(timed.stage):
                return original(*args, **kwargs)

        return method


class StageCallback(Callback):
    """Times backward, optimizer and the rest of a step as stages of a `StageClock`.

    Backward is timed only if the module runs it in the calling thread, that is with one CPU thread.

    Args:
        clock: adds up the times; the forward pass is timed by `StageClock.timing`.
    """

    def __init__(self, clock: StageClock) -> None:
        self.clock = clock

    def on_train_batch_start(self, *args) -> None:
        self.clock.enter("schedules, clipping, log")

    def on_before_backward(self, *args) -> None:
        self.clock.enter("backward")

    def on_after_backward(self, *args) -> None:
        self.clock.leave()

    def on_before_optimizer_step(self, *args) -> None:
        self.clock.enter("optimizer")

    def on_train_batch_end(self, *args) -> None:
        # The optimizer is the last thing of a step.
        self.clock.leave()
        self.clock.leave()


def stage_table(clock: StageClock, repeats: int) -> list[dict[str, Any]]:
    """Rows with ``stage, milliseconds, share, points`` of one of ``repeats`` equal runs, slowest first."""
    total = sum(clock.seconds.values())
    return [
        {
            "stage": name,
            "milliseconds": 1000 * seconds / repeats,
            "share": seconds / total if total else 0.0,
            "points": round(clock.points[name] / repeats) if name in clock.points else None,
        }
        for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1])
    ]


COMPOSITING, UNCLAIMED = "compositing, gathering", "between stages"


def avatar_stages(avatar: Avatar) -> list[TimedMethod]:
    """The stages of the method, in its order; time outside of the parts counts as compositing."""
    return [
        TimedMethod(avatar, "forward", COMPOSITING),
        TimedMethod(avatar, "render", COMPOSITING),
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
        TimedMethod(avatar.deformation, "forward", "deformation", counts_points=True),
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
        avatar.render(view)
        with clock.timing(avatar_stages(avatar)):
            taken = duration_of(lambda: [avatar.render(view) for _ in range(frames)], device)
    whole = taken.cpu if device == "cpu" else taken.wall
    # Threads also work outside of every stage.
    clock.seconds[UNCLAIMED] = max(whole - sum(clock.seconds.values()), 0.0)
    return stage_table(clock, frames)
