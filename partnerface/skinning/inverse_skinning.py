"""InverseSkinning: the interface of the map from observation space to canonical space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from partnerface.errors import UserError
from partnerface.head_models.head_model import PosedHead

BEYOND_SEARCH = -1.0
"""`InverseSkinning.depth_inside`, in metres, of a point beyond the search radius."""


@dataclass
class CanonicalPoints:
    """Observed points carried to canonical space.

    Attributes:
        points: ``[N, 3]`` canonical space, metres.
        valid: ``[N]`` bool: the point lies within the shell around the posed surface.
        distance: ``[N]`` distance to the posed surface in metres; infinity beyond the search radius.
        faces: ``[N]`` face of the closest surface point, -1 beyond the search radius.
        barycentric: ``[N, 3]`` of the closest surface point.
    """

    points: Float[Tensor, "N 3"]
    valid: Bool[Tensor, " N"]
    distance: Float[Tensor, " N"]
    faces: Int[Tensor, " N"]
    barycentric: Float[Tensor, "N 3"]

    def select(self, points: Tensor) -> CanonicalPoints:
        """Some of the points ``[M]``."""
        return CanonicalPoints(**{name: value[points] for name, value in vars(self).items()})


class InverseSkinning(nn.Module, ABC):
    """Carries world points to canonical space by the closest point of the posed head's surface.

    Density can only be in a shell around that surface: the skin above the torso, eyes, mouth cavity.

    Attributes:
        faces: ``[Fc, 3]`` faces of the head model that make the surface.
        thickness: ``[V]`` metres: how far the shell reaches beyond each vertex.
    """

    faces: Tensor
    thickness: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("faces", torch.zeros(0, 3, dtype=torch.long), persistent=False)
        self.register_buffer("thickness", torch.zeros(0), persistent=False)

    def set_surface(self, faces: Tensor, thickness: Tensor) -> None:
        """Use these faces ``[Fc, 3]`` of the head model and this shell thickness ``[V]`` in metres.

        Raises:
            UserError: there is no face.
        """
        if not len(faces):
            raise UserError("head model: no face of the head is left above the torso; check its weights")
        self.faces, self.thickness = faces, thickness.float().contiguous()

    @abstractmethod
    def posed_surface(self, head: PosedHead) -> Any:
        """Prepare F posed heads for queries from any thread.

        What is returned may be in use until the same thread prepares other heads.
        """

    @abstractmethod
    def forward(self, points: Tensor, frame: Tensor, surface: Any) -> CanonicalPoints:
        """Carry world points ``[N, 3]`` to canonical space, without gradient (see `with_gradient`).

        ``frame`` ``[N]`` int32 is the frame of each point, a number in the ``surface``.
        """

    @abstractmethod
    def with_gradient(
        self, canonical: CanonicalPoints, points: Tensor, frame: Tensor, surface: Any
    ) -> Tensor:
        """Canonical points ``[N, 3]`` of world points ``[N, 3]`` of frames ``[N]``: the value of
        ``canonical.points``, with a gradient to the head parameters of the posed surface.
        """

    def depth_inside(self, canonical: CanonicalPoints) -> Tensor:
        """Metres ``[N]`` that points lie within the shell: negative outside, `BEYOND_SEARCH` far away."""
        corners = self.faces[canonical.faces.long().clamp_min(0)]
        reach = (self.thickness[corners] * canonical.barycentric).sum(1)
        return torch.where(canonical.faces >= 0, reach - canonical.distance, BEYOND_SEARCH)
