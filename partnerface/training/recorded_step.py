"""RecordedStep: the gradients of a training step as one CUDA graph, which the host launches at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.data.batches.datasets import RayBatch

WARM_UP_STEPS = 3
"""Steps as usual before one is recorded: kernels are loaded and hierarchies are made in them."""

AGREEMENT = 1e-2
"""Largest relative difference of a replayed loss or gradient norm: sums on a GPU are taken in any order."""

Step = Callable[[RayBatch], dict[str, Tensor]]
"""Sets gradients from a batch and returns detached numbers."""


@dataclass
class _Recording:
    """A captured step with the tensors that it reads and writes.

    Attributes:
        graph: its operations.
        batch: where its batch has to lie.
        numbers: what it returns.
        gradients: what it leaves in each parameter.
    """

    graph: torch.cuda.CUDAGraph
    batch: RayBatch
    numbers: dict[str, Tensor]
    gradients: list[Tensor | None]


class RecordedStep:
    """Records a step that waits for nothing as a CUDA graph, and replays it for batches of the same shapes.

    A GPU computes the hundreds of small operations of a step faster than the host can launch them. After a
    recording it is replayed once from the same random state and compared; where capturing fails or the
    numbers differ, a line says so and all further steps are made as usual. Recordings of a stage are dropped
    when the next one begins.

    Args:
        step: makes a step.
        parameters: what it leaves gradients in.

    Attributes:
        refused: why steps are made as usual after all; None while they may be recorded.
    """

    def __init__(self, step: Step, parameters: Sequence[Tensor]) -> None:
        self.step, self.parameters = step, list(parameters)
        self._recordings: dict[Hashable, _Recording] = {}
        self._steps: dict[Hashable, int] = {}
        self._stage: Hashable = None
        self.refused: str | None = None
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, batch: RayBatch, stage: Hashable) -> dict[str, Tensor]:
        """Make a step; for ``stage``, which is fixed in a recording, see `AvatarMethod.training_schedule`."""
        if (stage, batch.patch_side) != self._stage:
            # Neither comes back, and a recording holds the memory of a whole step.
            self._recordings.clear()
            self._steps.clear()
            self._stage = stage, batch.patch_side
        key = tuple((tensor.shape, tensor.dtype) for tensor in batch.tensors())
        if key in self._recordings:
            return self._replay(self._recordings[key], batch)
        self._steps[key] = self._steps.get(key, 0) + 1
        if self.refused or self._steps[key] <= WARM_UP_STEPS:
            return self.step(batch)
        try:
            recording, difference = self._record(batch)
        # Whatever a driver or a class of somebody else's cannot do in a capture.
        except Exception as error:
            return self._as_usual(batch, f"{type(error).__name__}: {error}".splitlines()[0])
        if not difference <= AGREEMENT:
            return self._as_usual(batch, f"its numbers differ by {difference:.1%}")
        self._recordings[key] = recording
        return recording.numbers

    def _as_usual(self, batch: RayBatch, reason: str) -> dict[str, Tensor]:
        self.refused = reason[:200]
        self._recordings.clear()
        print(f"partnerface: steps are not recorded as a CUDA graph ({self.refused})", file=sys.stderr)
        self._forget_gradients()
        if self._stream is not None:
            torch.cuda.current_stream(batch.alpha.device).wait_stream(self._stream)
        return self.step(batch)

    def _record(self, batch: RayBatch) -> tuple[_Recording, float]:
        """A recording, replayed once, and how far its numbers are from those of the step as usual."""
        device = batch.alpha.device
        kept = batch.clone()
        state = torch.cuda.get_rng_state(device)
        stream = self._stream = self._stream or torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            # In the stream of the capture, for autograd adds gradients up where they were first made.
            self._forget_gradients()
            expected = {name: value.clone() for name, value in self.step(kept).items()}
            self._forget_gradients()
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.synchronize(device)
        torch.cuda.set_rng_state(state, device)
        graph = torch.cuda.CUDAGraph()
        # A loader's thread pins memory meanwhile, which a capture of all threads' calls would refuse.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            numbers = self.step(kept)
        recording = _Recording(graph, kept, numbers, [parameter.grad for parameter in self.parameters])
        torch.cuda.set_rng_state(state, device)
        self._replay(recording, batch)
        pairs = [(float(numbers[name]), float(value)) for name, value in expected.items()]
        # A step that is not finite is as good as any other to record.
        differences = [abs(a - b) / max(abs(b), 1e-12) for a, b in pairs if a == a or b == b]
        return recording, max(differences, default=0.0)

    def _replay(self, recording: _Recording, batch: RayBatch) -> dict[str, Tensor]:
        for place, tensor in zip(recording.batch.tensors(), batch.tensors(), strict=True):
            place.copy_(tensor, non_blocking=True)
        recording.graph.replay()
        for parameter, gradient in zip(self.parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.numbers

    def _forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
