"""Steps whose loss or gradient is not finite: told from the gradient's norm, explained frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from partnerface.errors import UserError

SHOWN_STEPS = 20
"""Skipped steps that are told one by one; of those after them, every hundredth."""


class Diverged(UserError):
    """Too many steps in a row were skipped; the weights are those before the first of them."""


def tell_by_gradient(loss: Tensor) -> Tensor:
    """The loss, which makes every gradient NaN if it is NaN or infinite itself.

    Its value decides without being looked at, so that no device has to be waited for, and where
    gradients are averaged over processes all of them learn of it.
    """
    return loss * (1 + 0 * loss.detach())


def clipped_norm(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Norm of the gradient before it is clipped to ``limit``; 0 does not clip."""
    parameters = [p for p in parameters if p.grad is not None]
    if limit > 0:
        return clip_grad_norm_(parameters, limit)
    return get_total_norm([p.grad for p in parameters])


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

    def skip(self, step: int, reason: str) -> str | None:
        """Count one; returns a line about it unless there were many."""
        self.total += 1
        self.in_a_row += 1
        self._reason = reason
        if self.total > SHOWN_STEPS and self.total % 100:
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

    Args:
        frames: numbers of the batch's frames.
        objective: loss and terms by name of the batch's k-th frame.
        parameters: what is trained.

    Returns:
        A few words, empty if every frame alone is fine.
    """
    found = []
    for k, frame in enumerate(frames):
        loss, terms = objective(k)
        names = [name for name, value in terms.items() if not torch.isfinite(value)]
        if not names and not torch.isfinite(loss):
            names = ["the loss"]
        if not names and not _finite_gradient(loss, parameters):
            names = ["the gradient"]
        if names:
            found.append(f"{', '.join(names)} of frame {frame}")
    return f"{' and '.join(found)} is not a finite number" if found else ""


def _finite_gradient(loss: Tensor, parameters: Sequence[Tensor]) -> bool:
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)
