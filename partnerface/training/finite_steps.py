"""FiniteSteps: what is done with a training step whose loss or gradient is not a finite number."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.optim import Optimizer

from partnerface.errors import UserError

SHOWN_STEPS = 20
"""Number of skipped steps that are reported one by one; after them every hundredth is."""


class Diverged(UserError):
    """Too many steps in a row were skipped; the weights are those before the first of them."""


def poison_gradient(loss: Tensor) -> Tensor:
    """The loss, multiplied so that a NaN or infinite value makes every gradient NaN.

    No synchronisation with the device is needed, and every process sees it once gradients are averaged.
    """
    return loss * (1 + 0 * loss.detach())


def clipped_norm(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Norm of the gradient before it is clipped to ``limit``; 0 does not clip.

    As `torch.nn.utils.clip_grad_norm_`, which takes a step for each of the parameters.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if limit > 0:
        torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp_max(1))
    return norm


class SkippedSteps:
    """Counts skipped steps, and says when it is time to give up.

    Args:
        limit: skipped steps in a row that end training.

    Attributes:
        total: skipped steps of the whole run.
        in_a_row: since the last step that was made.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = self.in_a_row = 0
        self._reason = ""

    def skip(self, step: int, reason: str, count: int = 1) -> str | None:
        """Count one or more; returns a line about them unless there were many."""
        before = self.total
        self.total += count
        self.in_a_row += count
        self._reason = reason
        if before >= SHOWN_STEPS and self.total // 100 == before // 100:
            return None
        return f"step {step} skipped: {reason} ({self.total} skipped so far)"

    def check(self) -> None:
        """Give up if it is time.

        Raises:
            Diverged: the limit is reached.
        """
        if self.in_a_row >= self.limit:
            raise Diverged(
                f"training diverged: {self.in_a_row} steps in a row were skipped, the last because "
                f"{self._reason}; the checkpoint holds the weights before them; look at these frames, or "
                "lower --model.learning_rates or the loss weights"
            )


def what_is_not_finite(
    frames: Sequence[int],
    objective: Callable[[int], tuple[Tensor, dict[str, Tensor]]],
    parameters: Sequence[Tensor],
) -> str:
    """Name the frames of a batch, and their loss terms or else the gradient, that are not finite.

    ``objective`` gives loss and terms by name of the batch's k-th frame. Returns a few words, none if every
    frame alone is fine.
    """
    found = []
    for k, frame in enumerate(frames):
        loss, terms = objective(k)
        names = [name for name, value in terms.items() if not torch.isfinite(value)]
        if not names and not torch.isfinite(loss):
            names = ["the loss"]
        if not names:
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            if not all(bool(torch.isfinite(g).all()) for g in gradients if g is not None):
                names = ["the gradient"]
        if names:
            found.append(f"{', '.join(names)} of frame {frame}")
    return f"{' and '.join(found)} is not a finite number" if found else ""


class FiniteSteps:
    """Makes an optimizer's steps but for those whose gradient is not finite.

    On a GPU a fused optimizer finds that out by itself. Steps that it left out are counted, and reported when
    the host looks at them; what was not finite is named for a step that it looks at.

    Args:
        limit: skipped steps in a row that end training.

    Attributes:
        skipped: counts the steps that were left out.
    """

    def __init__(self, limit: int) -> None:
        self.skipped = SkippedSteps(limit)
        self._left_out: Tensor | None = None
        self._steps = 0

    def make(
        self, optimizer: LightningOptimizer, norm: Tensor, step: int, look: bool, reason: Callable[[], str]
    ) -> bool:
        """Make a step, unless its gradient is not finite. All processes have the same.

        Args:
            optimizer: with the gradients of the step.
            norm: norm of the gradient.
            step: number of the step.
            look: whether the host looks at this step, and so may wait for it.
            reason: says what is not finite.

        Returns:
            False for a step that is known to be left out.
        """
        if not self.checks_itself(optimizer.optimizer):
            if not torch.isfinite(norm):
                self._say(step, reason())
                return False
            self.skipped.in_a_row = 0
            optimizer.step()
            return True
        # What is not finite is not zero either when it is taken from itself.
        left_out = (norm - norm).ne(0).float()
        optimizer.optimizer.found_inf = left_out
        optimizer.step()
        self._left_out = left_out if self._left_out is None else self._left_out + left_out
        self._steps += 1
        if look:
            # Of earlier steps the frames are gone.
            self.report(step + 1, lambda: reason() if left_out else "")
        return True

    @staticmethod
    def checks_itself(optimizer: Optimizer) -> bool:
        """Whether the optimizer leaves out steps that are not finite, without the host."""
        on_cpu = optimizer.param_groups[0]["params"][0].device.type == "cpu"
        return not on_cpu and bool(optimizer.defaults.get("fused"))

    def report(self, step: int, reason: Callable[[], str] | None = None) -> None:
        """Count and report the steps that the optimizer left out since the last report.

        ``reason`` says what is not finite in the last step, if anything.
        """
        if self._left_out is None:
            return
        count, steps = int(self._left_out), self._steps
        self._left_out, self._steps = None, 0
        if count:
            said = f"the gradient was not a finite number in {count} of the last {steps} steps"
            named = reason() if reason else ""
            self._say(step, f"{said}, in the last because {named}" if named else said, count)
        if count < steps:
            self.skipped.in_a_row = 0

    def _say(self, step: int, reason: str, count: int = 1) -> None:
        """Count skipped steps, and say it in the first process."""
        line = self.skipped.skip(step, reason, count)
        if line and rank_zero_only.rank == 0:
            print(f"partnerface: {line}", file=sys.stderr)
