"""A few training steps with the real trainer, each timed without loading its data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed.measurement import Duration, synchronise
from partnerface.training.distributed import set_ddp_options

MID_TRAINING = 0.5
"""Progress passed to the schedules: part weights are soft, the learning rate has half decayed."""


class StepTimer(Callback):
    """Times training steps from the loaded batch to the end of the optimizer's step.

    Args:
        warm_up: first steps, not timed, that compile kernels and allocate buffers and optimizer state.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, warm_up: int, device: str = "cpu") -> None:
        self.warm_up, self.device = warm_up, device
        self.steps: list[Duration] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        synchronise(self.device)
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        synchronise(self.device)
        step = Duration(time.perf_counter() - self._wall, time.process_time() - self._cpu)
        if trainer.global_step > self.warm_up:
            self.steps.append(step)


class SecondsBudget(Callback):
    """Ends training after a number of seconds, and sets the progress of the schedules to the share spent.

    Args:
        seconds: the budget.
        clock: measures it, by default in CPU seconds of the process.

    Attributes:
        spent: seconds of training.
        steps: steps of training.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds, self.clock = seconds, clock
        self.spent, self.steps = 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self.clock()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        self.spent, self.steps = self.clock() - self._start, trainer.global_step
        pl_module.elapsed_shares["cpu"] = min(self.spent / self.seconds, 1.0)
        trainer.should_stop |= self.spent >= self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of the budget."""
        before = self.clock()
        yield
        self._start += self.clock() - before


class ScoresDuringTraining(Callback):
    """Scores a method whenever its training passes a mark; the budget pauses meanwhile.

    Args:
        score: function that scores the method; it may leave it in evaluation mode.
        meter: the budget, which must come before this among the callbacks.
        marks: seconds of training, in ascending order.

    Attributes:
        found: seconds of training and score at each mark.
    """

    def __init__(self, score: Callable[[], float], meter: SecondsBudget, marks: Sequence[float]) -> None:
        self.score, self.meter, self.marks = score, meter, list(marks)
        self.found: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        if not self.marks or self.meter.spent < self.marks[0]:
            return
        self.marks = [mark for mark in self.marks if mark > self.meter.spent]
        with self.meter.paused():
            self.found.append((self.meter.spent, self.score()))
            pl_module.train()


def train_steps(
    method: MethodUnderTest,
    steps: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    progress: float = MID_TRAINING,
    callbacks: Sequence[Callback] = (),
    processes: int = 1,
) -> None:
    """Train for some steps with a new optimizer, without evaluation or files.

    Args:
        method: what is trained; it keeps what it learns.
        steps: number of steps; -1 for no limit.
        threads: CPU threads of the module.
        device: ``cpu`` or ``cuda``.
        progress: share of training, in [0, 1], at which the schedules start.
        callbacks: further callbacks of the trainer.
        processes: processes of the training; each has to call this, with its rank in the environment.
    """
    module = method.module
    module.cpu_threads = threads
    module.elapsed_shares = {"cpu": progress}
    trainer = Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator=device,
        devices=processes,
        strategy="auto" if processes == 1 else "ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )
    set_ddp_options(trainer)
    trainer.fit(module, datamodule=method.data)


def timed_steps(
    method: MethodUnderTest,
    steps: int,
    *,
    warm_up: int = 1,
    threads: int = 1,
    device: str = "cpu",
    processes: int = 1,
) -> Duration:
    """Mean duration of a training step: forward, backward and optimizer, without its data."""
    timer = StepTimer(warm_up, device)
    options = {"threads": threads, "device": device, "processes": processes}
    train_steps(method, warm_up + steps, callbacks=[timer], **options)
    total = Duration(sum(s.wall for s in timer.steps), sum(s.cpu for s in timer.steps))
    return total.per(len(timer.steps))


def set_up(method: MethodUnderTest, device: str = "cpu") -> None:
    """Run one training step, which fits a new method's buffers to the person."""
    train_steps(method, 1, device=device)


def continue_from(variant: MethodUnderTest, trained: MethodUnderTest) -> MethodUnderTest:
    """Set a new variant of a trained method up, and copy all state that fits: field, torso, occupancy.

    Args:
        variant: with other parts or data it samples the same pruned space; is returned.
        trained: keeps its state.
    """
    set_up(variant)
    state = variant.module.avatar.state_dict()
    with torch.no_grad():
        for name, value in trained.module.avatar.state_dict().items():
            if name in state and state[name].shape == value.shape:
                state[name].copy_(value)
    return variant
