"""Where the parts start: spread over the surface, gathered where expressions move it, or at landmarks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import landmark_points
from partnerface.user_error import UserError

PartPlacement = Literal["expression_motion", "farthest_points", "landmarks"]


def placed_centres(
    placement: PartPlacement,
    head_model: HeadModel,
    canonical: Tensor,
    used: Tensor,
    expression: Tensor,
    parts: int,
) -> Tensor:
    """Centres ``[P, 3]`` in canonical space.

    Args:
        placement: ``expression_motion`` gathers them where the training expressions move the surface,
            ``farthest_points`` spreads them evenly, ``landmarks`` puts them on P landmarks of the face
            that are far from one another.
        head_model: gives the expression basis and the landmarks.
        canonical: ``[V, 3]`` canonical vertices.
        used: ``[U]`` the vertices of the head.
        expression: ``[F, E]`` training expressions.
        parts: number of parts P.

    Raises:
        UserError: the head model has fewer landmarks than parts.
    """
    if placement == "landmarks":
        # A landmark that the detector never placed on the model has no weights.
        embedded = torch.as_tensor(head_model.asset.landmark_barycentric.sum(1) > 0.5)
        places = landmark_points(head_model, canonical)[embedded.to(canonical.device)]
        if len(places) < parts:
            raise UserError(
                f"--model.avatar.deformation.init_args.parts is {parts}, but the head model has "
                f"{len(places)} landmarks to put them on: choose fewer, or another placement"
            )
        return part_centres(places, torch.ones_like(places[:, 0]), parts, rounds=0)
    surface = canonical[used]
    if placement == "farthest_points":
        return part_centres(surface, torch.ones_like(surface[:, 0]), parts)
    return part_centres(surface, expression_motion(head_model, expression)[used], parts)


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
