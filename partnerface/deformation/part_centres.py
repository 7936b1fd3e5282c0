"""Where the parts start: farthest points on the surface, weighted by how much expressions move it."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel


def expression_motion(head_model: HeadModel, expression: Tensor) -> Tensor:
    """``[V]`` root mean square displacement of each vertex in metres over expressions ``[F, E]``."""
    offsets = head_model.expression_offsets(expression - expression.mean(0))
    return offsets.square().sum(-1).mean(0).sqrt()


def part_centres(vertices: Tensor, motion: Tensor, parts: int, rounds: int = 8) -> Tensor:
    """Spread centres over the moving surface.

    Farthest points of the whole bust would put the entire face into one part; weighted by motion they
    gather at mouth, eyes and brows.

    Args:
        vertices: ``[V, 3]``.
        motion: ``[V]`` root mean square displacement of each vertex over the training expressions.
        parts: number of parts P, at most V.
        rounds: rounds of Lloyd's algorithm after the weighted farthest-point start.

    Returns:
        ``[P, 3]``.
    """
    weight = (motion / motion.max().clamp_min(1e-9)).clamp_min(0.03)
    chosen = [int(weight.argmax())]
    nearest = torch.full((len(vertices),), torch.inf, device=vertices.device)
    for _ in range(parts - 1):
        nearest = torch.minimum(nearest, (vertices - vertices[chosen[-1]]).square().sum(1))
        chosen.append(int((nearest * weight).argmax()))
    centres = vertices[chosen]
    for _ in range(rounds):
        owner = torch.cdist(vertices, centres).argmin(1)
        total = torch.zeros(parts, device=vertices.device).index_add(0, owner, weight)
        moment = torch.zeros_like(centres).index_add(0, owner, vertices * weight[:, None])
        centres = torch.where(total[:, None] > 0, moment / total.clamp_min(1e-9)[:, None], centres)
    return centres
