"""CanonicalPoints: what inverse skinning returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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

    points: Tensor
    valid: Tensor
    distance: Tensor
    faces: Tensor
    barycentric: Tensor

    def select(self, points: Tensor) -> CanonicalPoints:
        """Some of the points ``[M]``."""
        return CanonicalPoints(
            self.points[points],
            self.valid[points],
            self.distance[points],
            self.faces[points],
            self.barycentric[points],
        )
