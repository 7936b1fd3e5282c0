"""PartDeformation: the method. Local networks, softly weighted, move canonical points."""

from __future__ import annotations

from torch import Tensor

from partnerface.deformation.deformation import Deformation, DeformedPoints
from partnerface.deformation.local_networks import LocalNetworks
from partnerface.deformation.part_assigner import PartAssigner
from partnerface.deformation.part_centres import PartPlacement
from partnerface.fields.encodings import frequency_encoding

OFFSET_SCALE = 0.02
"""An output of one moves a point by this share of the canonical cube's side (about 8 mm)."""


class PartDeformation(Deformation):
    """Offsets of canonical points as the weighted sum of P local networks (PartNerFace, section 3).

    Args:
        parts: number of parts P.
        temperature: softness of the part weights, in units of the mean centre spacing.
        top_k: parts that act on a point.
        hidden_width: width of each local network.
        num_frequencies: octaves of the position encoding.
        driving_width: length of the driving signal.
        appearance_width: length of the appearance code that accompanies the offset, 0 for none: what a
            wrinkle does to shading cannot be written as a motion of points.
        placement: where the parts start, see `placed_centres`.
        learn_parts: whether the partition is learned or stays as it was placed.
    """

    def __init__(
        self,
        parts: int = 8,
        temperature: float = 0.25,
        top_k: int = 2,
        hidden_width: int = 32,
        num_frequencies: int = 4,
        driving_width: int = 55,
        appearance_width: int = 4,
        placement: PartPlacement = "expression_motion",
        learn_parts: bool = True,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.parts, self.driving_width, self.appearance_width = parts, driving_width, appearance_width
        self.num_frequencies = num_frequencies
        self.assigner = PartAssigner(parts, temperature, top_k).requires_grad_(learn_parts)
        inputs = 3 + 6 * num_frequencies
        self.networks = LocalNetworks(parts, inputs, driving_width, hidden_width, 3 + appearance_width)

    def place_parts(self, centres: Tensor) -> None:
        self.assigner.place(centres)

    def set_hard(self, hard: bool) -> None:
        self.assigner.hard = hard

    def forward(self, positions: Tensor, driving: Tensor) -> DeformedPoints:
        weights, index = self.assigner(positions)
        features = frequency_encoding(positions, self.num_frequencies)
        output = self.networks(features, driving, weights, index)
        offsets, appearance = output.split([3, self.appearance_width], 1)
        return DeformedPoints(
            OFFSET_SCALE * offsets, appearance if self.appearance_width else None, weights, index
        )
