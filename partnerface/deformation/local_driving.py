"""Which expressions a part hears: those that move it."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.deformation.deformation import CanonicalHead

BELONGS = 0.1
"""Least weight of a part at a vertex that belongs to it."""

FELT = 5e-4
"""Metres: what moves no vertex of a part by more, at its strongest in training, is not heard."""

LEAST_STRENGTH = 0.3
"""An expression that training shows more weakly is judged as if it had been so strong."""


def heard_expressions(head: CanonicalHead, part_weights: Tensor) -> Tensor:
    """``[P, E]``, 1 where an expression moves a part and 0 elsewhere.

    A part without a vertex of its own hears whatever moves the head.

    Args:
        head: whose parts they are.
        part_weights: ``[U, P]`` of the used vertices.
    """
    strongest = head.expression.abs().amax(0).clamp_min(LEAST_STRENGTH)
    motion = head.head_model.expression_basis[:, head.used].norm(dim=-1) * strongest[:, None]
    belongs = part_weights > BELONGS
    reach = [motion[:, of_part].amax(1) if of_part.any() else motion.amax(1) for of_part in belongs.T]
    return (torch.stack(reach) > FELT).to(motion)
