"""Where the parts of a deformation start, and which expressions move them there."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from partnerface.deformation.deformation import CanonicalHead
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import head_parts, landmark_points

LEAST_PART_WEIGHT = 0.1
"""A vertex belongs to every part that has at least this weight there."""

LEAST_MOTION_M = 5e-4
"""Metres: a part is conditioned on the expressions that move a vertex of it by more, at their strongest in
training."""

LEAST_STRENGTH = 0.3
"""Coefficient that an expression is assumed to reach, if training shows it more weakly."""

MOVED_SHARE_M, MOVED_SHARE = 3e-4, 0.25
"""The stricter rule: a part is conditioned on the expressions that move this share of its weight by more than
so many metres."""

DrivingMasks = Literal["any_vertex", "moved_share", "learned", "none"]

PartPlacement = Literal["expression_motion", "farthest_points", "landmarks", "head_regions"]

_REGIONS = (
    ("mouth", False),
    ("eyes", True),
    ("scalp", False),
    ("brows", True),
    ("jaw", False),
    ("nose", False),
    ("cheeks", True),
    ("ears", True),
    ("neck", False),
)
"""Named regions of `HeadParts`, and whether left and right are two: what expressions need most is first."""


def placed_centres(placement: PartPlacement, head: CanonicalHead, parts: int) -> Tensor:
    """Centres ``[P, 3]`` in canonical space, metres.

    Args:
        placement: ``expression_motion`` gathers them where the training expressions move the surface,
            ``farthest_points`` spreads them evenly, ``landmarks`` puts them on P landmarks of the face
            that are far from one another, ``head_regions`` on the first P of the head's named regions: mouth,
            eyes, scalp, brows, jaw, nose, cheeks, ears, neck, where pairs are two.
        head: the head that is divided.
        parts: number of parts P.

    Raises:
        UserError: the head model has fewer landmarks, regions or vertices than parts.
    """
    if placement == "landmarks":
        # A landmark that the detector never placed on the model has no weights.
        embedded = torch.as_tensor(head.head_model.asset.landmark_barycentric.sum(1) > 0.5)
        places = landmark_points(head.head_model, head.vertices)[embedded.to(head.vertices.device)]
        _check_enough(len(places), "landmarks", parts)
        return part_centres(places, torch.ones_like(places[:, 0]), parts, rounds=0)
    if placement == "head_regions":
        places = region_centres(head)
        _check_enough(len(places), "named regions", parts)
        return places[:parts]
    surface = head.vertices[head.used]
    _check_enough(len(surface), "vertices", parts)
    if placement == "farthest_points":
        return part_centres(surface, torch.ones_like(surface[:, 0]), parts)
    return part_centres(surface, expression_motion(head.head_model, head.expression)[head.used], parts)


def _check_enough(places: int, kind: str, parts: int) -> None:
    if places < parts:
        raise UserError(
            f"--model.avatar.deformation.init_args.parts is {parts}, but the head model has "
            f"{places} {kind} to put them on: choose fewer, or another placement"
        )


def region_centres(head: CanonicalHead) -> Tensor:
    """``[13, 3]`` weighted means of the named regions' surfaces, each side of a pair by itself."""
    surface = head.vertices[head.used]
    weights = head_parts(head.head_model).weights
    centres = []
    for name, paired in _REGIONS:
        weight = weights[name][head.used]
        middle = (weight @ surface)[0] / weight.sum().clamp_min(1e-9)
        left = (surface[:, 0] > middle).to(weight)
        for side in (weight * left, weight * (1 - left)) if paired else (weight,):
            centres.append((side @ surface) / side.sum().clamp_min(1e-9))
    return torch.stack(centres)


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


def driving_masks(kind: DrivingMasks, head: CanonicalHead, part_weights: Tensor) -> Tensor:
    """``[P, E]``: 1 where a part is conditioned on an expression and 0 elsewhere.

    Args:
        kind: ``any_vertex``, see `expression_masks`; ``moved_share`` for the expressions that move a quarter
            of the part by more than 0.3 mm; ``none`` and ``learned`` start from all of them.
        head: the head that is divided, with the expressions of training.
        part_weights: ``[U, P]`` those of the vertices ``head.used``.
    """
    if kind == "any_vertex":
        return expression_masks(head, part_weights)
    if kind == "moved_share":
        moved = (strongest_motion(head) > MOVED_SHARE_M).to(part_weights) @ part_weights
        return (moved > MOVED_SHARE * part_weights.sum(0)).to(part_weights).T
    return part_weights.new_ones(part_weights.shape[1], head.expression.shape[1])


def strongest_motion(head: CanonicalHead) -> Tensor:
    """``[E, U]`` metres that each expression, as strong as training shows it, moves ``head.used``."""
    strongest = head.expression.abs().amax(0).clamp_min(LEAST_STRENGTH)
    return head.head_model.expression_basis[:, head.used].norm(dim=-1) * strongest[:, None]


def expression_masks(head: CanonicalHead, part_weights: Tensor) -> Tensor:
    """``[P, E]``: 1 where an expression moves a part and 0 elsewhere.

    ``part_weights`` ``[U, P]`` are those of the vertices ``head.used``. A part without a vertex of its own is
    conditioned on all that moves the head.
    """
    motion = strongest_motion(head)
    members = part_weights > LEAST_PART_WEIGHT
    reach = [motion[:, of_part].amax(1) if of_part.any() else motion.amax(1) for of_part in members.T]
    return (torch.stack(reach) > LEAST_MOTION_M).to(motion)
