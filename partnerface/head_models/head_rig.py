"""HeadRig: what it takes to change the expression and pose of one person by name and by angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from partnerface.compute.frame_record import FrameRecord
from partnerface.head_models.head_model import HeadModel

COLLAR = 0.15
"""Share of the bust's height, from above, in which the head meets the torso."""


@dataclass
class HeadRig(FrameRecord):
    """The controls of one person's head.

    Attributes:
        expression_names: names of the E expression coefficients.
        neck: ``[3]`` point about which the head turns, midway along the neck; rest space, metres.
        collar: ``[4, 3]`` corners of an upright rectangle where the head meets the torso: as wide as the
            neck, at the depth of its front; rest space, metres.
    """

    SHARED: ClassVar = ("neck", "collar")

    expression_names: tuple[str, ...]
    neck: Float[Tensor, 3]
    collar: Float[Tensor, "4 3"]

    @classmethod
    def of(cls, head_model: HeadModel, identity: Tensor) -> HeadRig:
        """The controls of a head model for a person's identity ``[<=I]``."""
        joints = head_model.identity_joints(identity)
        vertices = head_model.identity_vertices(identity)
        torso = head_model.skinning_weights[:, head_model.joint("root")]
        # The torso's share of the weights is small all over a head that ends at the neck.
        bust = vertices[torso > 0.5 * torso.max()]
        top, bottom = bust[:, 1].amax(), bust[:, 1].amin()
        collar = bust[bust[:, 1] > top - COLLAR * (top - bottom)]
        low, high = collar.amin(0), collar.amax(0)
        plane = torch.cartesian_prod(*torch.stack([low, high], 1)[:2], high[2:])
        return cls(
            tuple(head_model.asset.expression_names),
            # Where `HeadModel.joint_transforms` lets the neck bend.
            0.5 * (joints[head_model.joint("neck")] + joints[head_model.joint("head")]),
            plane,
        )
