"""HeadRig: what it takes to change the expression and pose of one person by name and by angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from partnerface.compute.frame_record import FrameRecord
from partnerface.head_models.head_model import HeadModel


@dataclass
class HeadRig(FrameRecord):
    """The controls of one person's head.

    Attributes:
        expression_names: names of the E expression coefficients.
        neck: ``[3]`` point about which the head turns, midway along the neck; rest space, metres.
        shoulders: ``[N, 3]`` points of the front of neck and shoulders; rest space, metres.
    """

    SHARED: ClassVar = ("neck", "shoulders")

    expression_names: tuple[str, ...]
    neck: Float[Tensor, 3]
    shoulders: Float[Tensor, "N 3"]

    @classmethod
    def of(cls, head_model: HeadModel, identity: Tensor) -> HeadRig:
        """The controls of a head model for a person's identity ``[<=I]``."""
        joints = head_model.identity_joints(identity)
        vertices = head_model.identity_vertices(identity)
        bust = vertices[head_model.skinning_weights[:, head_model.joint("root")] > 0.5]
        return cls(
            tuple(head_model.asset.expression_names),
            # Where `HeadModel.joint_transforms` lets the neck bend.
            0.5 * (joints[head_model.joint("neck")] + joints[head_model.joint("head")]),
            bust[bust[:, 2] >= bust[:, 2].mean()],
        )
