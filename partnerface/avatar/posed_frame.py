"""PosedFrame: one frame of a view, posed and ready for rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from partnerface.avatar.canonical_map import CanonicalMap, ExactMap


@dataclass
class PosedFrame:
    """One frame, posed and ready for rays.

    Attributes:
        bounds: what rays are sampled against, as the sampler gives it.
        exact: inverse skinning and deformation of this frame.
        canonical_map: the map to use: ``exact``, or a faster one for a whole picture.
        pose: rotation ``[3, 3]`` and translation ``[3]`` of the rigid head, head to world, metres.
        view_rotation: ``[3, 3]`` head to world with its joints: undoes the head's turn in view directions.
        torso: motion of the torso ``[2, 3]`` and the head's pose relative to the mean of training ``[6]``.
    """

    bounds: Any
    exact: ExactMap
    canonical_map: CanonicalMap
    pose: tuple[Tensor, Tensor]
    view_rotation: Tensor
    torso: tuple[Tensor, Tensor]
