"""Baselines of the deformation: none, and one network for the whole head."""

from __future__ import annotations

from torch import Tensor

from partnerface.deformation.deformation import Deformation, DeformedPoints
from partnerface.deformation.part_deformation import PartDeformation


class NoDeformation(Deformation):
    """Canonical points stay where inverse skinning put them."""

    def __init__(self, driving_width: int = 58) -> None:
        super().__init__()
        self.driving_width = driving_width

    def forward(self, positions: Tensor, driving: Tensor) -> DeformedPoints:
        one = positions.new_ones(len(positions), 1)
        return DeformedPoints(positions.new_zeros(len(positions), 3), None, one, one.long() - 1)


def global_deformation(
    hidden_width: int = 128,
    num_frequencies: int = 4,
    driving_width: int = 58,
    appearance_width: int = 4,
    windowed_frequencies: bool = False,
) -> PartDeformation:
    """One network for all of canonical space: part deformation with a single part."""
    return PartDeformation(
        parts=1,
        top_k=1,
        hidden_width=hidden_width,
        num_frequencies=num_frequencies,
        driving_width=driving_width,
        appearance_width=appearance_width,
        windowed_frequencies=windowed_frequencies,
        local_driving=False,
    )
