"""One step: learning rates by kind of parameter and their schedule; what is done if it is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partnerface.compute.ranges import Between
from partnerface.errors import UserError


def cosine_factor(progress: float, warm_up: float = 0.02, final: float = 0.05) -> float:
    """Factor of the learning rate.

    Args:
        progress: share of training that is done, in [0, 1] (of the steps or of the time budget).
        warm_up: share of training over which the rate rises linearly.
        final: factor at the end.

    >>> [round(cosine_factor(p, warm_up=0.0, final=0.0), 3) for p in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    angle = math.pi * (progress - warm_up) / max(1.0 - warm_up, 1e-9)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(angle))


@dataclass
class LearningRates:
    """Adam learning rates.

    Attributes:
        grids: hash tables and feature planes of the head.
        networks: multilayer perceptrons of the head: field heads, local networks, part assigner.
        torso: the torso layer.
        refinement: corrections of tracked pose and expression.
    """

    grids: Between[float, 0, 100] = 2e-2
    networks: Between[float, 0, 100] = 6e-3
    torso: Between[float, 0, 100] = 5e-3
    refinement: Between[float, 0, 100] = 3e-5


def adamw(groups: Iterable[dict[str, Any]]) -> Optimizer:
    """AdamW of `parameter_groups` with the values of ``configs/base.yaml``.

    ``eps`` is that of Instant-NGP: gradients of hash tables are often smaller than the usual 1e-8.
    """
    return torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.99), eps=1e-15, weight_decay=0.01, fused=True)


def parameter_groups(
    kinds: Mapping[str, Iterable[nn.Parameter]], refinement: nn.Module | None, rates: LearningRates
) -> list[dict[str, Any]]:
    """Groups for an optimizer, each with ``name``, ``params``, ``lr`` and ``base_lr``.

    Grids and refinements do not decay: an entry that no ray meets would fade, and a correction has a
    prior of its own.

    Args:
        kinds: an avatar's parameters by kind, see `AvatarMethod.parameter_kinds`.
        refinement: corrections of tracked parameters, or None.
        rates: learning rate of each kind; 0 leaves a kind as it is.
    """
    groups = dict(kinds)
    if refinement is not None:
        groups["refinement"] = refinement.parameters()
    trainable = {kind: [p for p in members if p.requires_grad] for kind, members in groups.items()}
    return [
        {"name": kind, "params": trainable[kind], "lr": rate, "base_lr": rate}
        | ({"weight_decay": 0.0} if kind in ("grids", "refinement") else {})
        for kind in ("grids", "networks", "torso", "refinement")
        if trainable.get(kind) and (rate := getattr(rates, kind)) > 0
    ]


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
