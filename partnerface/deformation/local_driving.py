"""Driving masks: which expressions each part is conditioned on."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.deformation.deformation import CanonicalHead

LEAST_PART_WEIGHT = 0.1
"""A vertex belongs to every part that has at least this weight there."""

LEAST_MOTION_M = 5e-4
"""Metres: a part is conditioned on the expressions that move a vertex of it by more, at their strongest in
training."""

LEAST_STRENGTH = 0.3
"""Coefficient that an expression is assumed to reach, if training shows it more weakly."""


def expression_masks(head: CanonicalHead, part_weights: Tensor) -> Tensor:
    """``[P, E]``: 1 where an expression moves a part and 0 elsewhere.

    A part without a vertex of its own is conditioned on all that moves the head.

    Args:
        head: the person's canonical head.
        part_weights: ``[U, P]`` part weights of the vertices ``head.used``.
    """
    strongest = head.expression.abs().amax(0).clamp_min(LEAST_STRENGTH)
    motion = head.head_model.expression_basis[:, head.used].norm(dim=-1) * strongest[:, None]
    members = part_weights > LEAST_PART_WEIGHT
    reach = [motion[:, of_part].amax(1) if of_part.any() else motion.amax(1) for of_part in members.T]
    return (torch.stack(reach) > LEAST_MOTION_M).to(motion)
