"""NoDeformation: the baseline of skinning alone."""

from __future__ import annotations

from torch import Tensor

from partnerface.deformation.deformation import Deformation, DeformedPoints


class NoDeformation(Deformation):
    """Canonical points stay where inverse skinning put them."""

    def __init__(self, driving_width: int = 58) -> None:
        super().__init__()
        self.driving_width = driving_width

    def forward(self, positions: Tensor, driving: Tensor) -> DeformedPoints:
        one = positions.new_ones(len(positions), 1)
        return DeformedPoints(positions.new_zeros(len(positions), 3), None, one, one.long() - 1)
