"""Baselines of the deformation: none, and one network for the whole head."""

from __future__ import annotations

from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.deformation.deformation import CanonicalHead, Deformation, DeformedPoints
from partnerface.deformation.part_networks import PartNetworks


class NoDeformation(Deformation):
    """Canonical points stay where inverse skinning put them.

    Args:
        driving_width: length of the driving signal, which has no effect.
    """

    def __init__(self, driving_width: int) -> None:
        super().__init__()
        self.driving_width = driving_width

    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        one = positions.new_ones(len(positions), 1)
        return DeformedPoints(positions.new_zeros(len(positions), 3), None, one, one.long() - 1)


class GlobalDeformation(Deformation):
    """One network for all of canonical space: `PartNetworks` with a single part.

    Args:
        driving_width: length of the driving signal.
        hidden_width: width of the network; of its branch for the appearance code half of that.
        num_frequencies: octaves of the position encoding.
        appearance_width: length of the appearance code, 0 for none.
        windowed_frequencies: coarse to fine, see `PartNetworks`.
    """

    def __init__(
        self,
        driving_width: int,
        hidden_width: Between[int, 1, 4096] = 128,
        num_frequencies: Between[int, 0, 16] = 4,
        appearance_width: Between[int, 0, 256] = 4,
        windowed_frequencies: bool = False,
    ) -> None:
        super().__init__()
        self.driving_width, self.appearance_width = driving_width, appearance_width
        self.whole_head = PartNetworks(
            driving_width,
            parts=1,
            top_k=1,
            hidden_width=hidden_width,
            num_frequencies=num_frequencies,
            appearance_width=appearance_width,
            windowed_frequencies=windowed_frequencies,
            local_driving=False,
        )

    def adapt_to(self, head: CanonicalHead) -> None:
        self.whole_head.adapt_to(head)

    def scale_parts(self, gains: Tensor | None) -> None:
        self.whole_head.scale_parts(gains)

    def set_progress(self, progress: float) -> None:
        self.whole_head.set_progress(progress)

    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        return self.whole_head(positions, driving, frame)
