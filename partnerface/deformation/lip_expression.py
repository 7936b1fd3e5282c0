"""LipExpression: the baseline of INSTA. Only the field's colours at the lips follow the expression."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from partnerface.compute.ranges import Between
from partnerface.deformation.deformation import CanonicalHead, Deformation, DeformedPoints
from partnerface.deformation.driving_signal import VELOCITY_WIDTH
from partnerface.deformation.part_placement import part_centres
from partnerface.head_models.head_parts import head_parts, surface_vertices

ANCHORS = 64
"""Points spread over lips, teeth and tongue, about 8 mm apart."""


class LipExpression(Deformation):
    """A code of expression and rotation at lips, teeth, tongue; zero elsewhere (INSTA, Zielonka et al. 2023).

    INSTA hands the expression to its field where the nearest face of the mesh belongs to the lips. Here
    the code fades from one to two anchor spacings away from the nearest of a set of anchors on them.

    Args:
        driving_width: length of the driving signal.
        code_width: length of the code, linear in the driving signal without its velocity; INSTA's has 16.
    """

    anchors: Tensor
    spacing: Tensor

    def __init__(self, driving_width: int, code_width: Between[int, 0, 256] = 16) -> None:
        super().__init__()
        self.driving_width, self.appearance_width = driving_width, code_width
        signal_width = driving_width - VELOCITY_WIDTH
        self.code = nn.Parameter(torch.randn(signal_width, code_width) / math.sqrt(signal_width))
        self.register_buffer("anchors", torch.zeros(ANCHORS, 3))
        self.register_buffer("spacing", torch.ones(()))

    def adapt_to(self, head: CanonicalHead) -> None:
        mouth = head_parts(head.head_model).weights["mouth"] > 0.5
        # The cavity's walls reach far back and down, where nothing is seen.
        mouth &= ~surface_vertices(head.head_model, "mouth_cavity")
        surface = head.in_cube(head.vertices[head.used[mouth[head.used]]])
        anchors = part_centres(surface, torch.ones_like(surface[:, 0]), ANCHORS)
        distance = torch.cdist(anchors, anchors).fill_diagonal_(torch.inf)
        self.anchors.copy_(anchors)
        self.spacing.copy_(distance.amin(1).mean())

    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        one = positions.new_ones(len(positions), 1)
        code = self.nearness(positions)[:, None] * (driving[:, :-VELOCITY_WIDTH] @ self.code).index_select(
            0, frame
        )
        return DeformedPoints(torch.zeros_like(positions), code, one, one.long() - 1)

    def nearness(self, positions: Tensor) -> Tensor:
        """``[N]`` 1 at the lips, 0 beyond two spacings, of positions ``[N, 3]`` in [0, 1]."""
        distance = torch.cdist(positions, self.anchors).amin(1)
        return (2 - distance / self.spacing).clamp(0, 1)
