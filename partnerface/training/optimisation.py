"""Learning rates by kind of parameter, their schedule, and the default optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from partnerface.compute.ranges import Between


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
