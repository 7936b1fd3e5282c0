"""Training in two processes against one, of one thread each, with the exchange of gradients."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.interleaving import Duration, interleaved, ratios
from partnerface.benchmarks.speed.result_row import ResultRow, Target, measured_row
from partnerface.benchmarks.speed.training import rays_per_step
from partnerface.benchmarks.speed.training_slices import set_up, timed_steps

PROCESSES = 2
SCALING = Target(">=", 1.8)
SCALING_STEPS, WARM_UP = 40, 5


@dataclass(frozen=True)
class ProcessTask:
    """What every process of a measurement does.

    Attributes:
        build: builds the method.
        name: name of the method.
        weights: file with the state of the avatar, so that all sample the same pruned space.
        steps: number of timed steps.
        port: TCP port where the processes meet.
    """

    build: MethodBuilder
    name: str
    weights: Path
    steps: int
    port: int


def scaling_row(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> ResultRow:
    """Rays per second of two processes over those of one, each with one thread and a batch of its own."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "avatar.pt"
        torch.save(trained.module.avatar.state_dict(), weights)

        def measure(processes: int) -> Duration:
            return _in_processes(ProcessTask(build, trained.name, weights, steps, _free_port()), processes)

        variants = {str(n): lambda n=n: measure(n) for n in (1, PROCESSES)}
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


def _in_processes(task: ProcessTask, processes: int) -> Duration:
    """Mean duration of a step in new interpreters."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    started = [context.Process(target=_train, args=(task, n, processes, sender)) for n in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError("a process of the measurement has failed; see above")
    return receiver.recv()


def _train(task: ProcessTask, rank: int, processes: int, sender) -> None:
    torch.set_num_threads(1)
    method = task.build(task.name)
    set_up(method)
    method.module.avatar.load_state_dict(torch.load(task.weights, weights_only=True))
    if processes > 1:
        place = {"LOCAL_RANK": rank, "NODE_RANK": 0, "OMP_NUM_THREADS": 1}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": task.port}
        os.environ.update({name: str(value) for name, value in place.items()})
    step = timed_steps(method, task.steps, warm_up=WARM_UP, processes=processes)
    if rank == 0:
        sender.send(step)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
