"""The loss of the first pass: without it nothing teaches the coarse field where the head is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.losses.photometric import Photometric
from partnerface.rendering.rendered_rays import RenderedRays


@dataclass(kw_only=True)
class HierarchicalRays(RenderedRays):
    """Rays rendered in two passes.

    Attributes:
        coarse: the first pass; the record itself is the second.
    """

    coarse: RenderedRays


class CoarsePhotometric(Photometric):
    """`Photometric` on the first pass of hierarchical rays (NeRF, Mildenhall et al. 2020, eq. 6)."""

    def forward(self, rendered: HierarchicalRays, batch: RayBatch) -> Tensor:
        return super().forward(rendered.coarse, batch)
