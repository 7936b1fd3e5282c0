"""RenderedFrame: a whole frame as the avatar renders it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.rendering.rendered_rays import RenderedRays


@dataclass
class RenderedFrame:
    """One frame as the avatar renders it, beside what the camera saw.

    Attributes:
        frame: the target.
        image: ``[3, H, W]`` colour over white, in [0, 1].
        opacity: ``[H, W]``.
        depth: ``[H, W]`` metres, 0 where there is no head.
        part_weights: ``[H, W, P]`` composited part weights, or None.
    """

    frame: EvaluationFrame
    image: Tensor
    opacity: Tensor
    depth: Tensor
    part_weights: Tensor | None = None

    @classmethod
    def from_rays(
        cls, frame: EvaluationFrame, rendered: RenderedRays, height: int, width: int
    ) -> RenderedFrame:
        """Lay out one frame's rays as an image.

        Args:
            frame: the target.
            rendered: ``[1, H * W]`` rays, row by row.
            height: H in pixels.
            width: W in pixels.
        """
        shape, weights = (height, width), rendered.part_weights
        white = torch.ones(3, device=rendered.opacity.device)
        return cls(
            frame=frame,
            image=rendered.over(white)[0].view(*shape, 3).permute(2, 0, 1),
            opacity=rendered.opacity[0].view(shape),
            depth=_surface_depth(rendered)[0].view(shape),
            part_weights=None if weights is None else weights[0].view(*shape, -1),
        )


def _surface_depth(rendered: RenderedRays) -> Tensor:
    """Depth ``[F, R]`` of the head where it covers a ray, 0 elsewhere: at the rim it fades with opacity."""
    covered = rendered.head_opacity > 0.5
    return torch.where(covered, rendered.depth / rendered.head_opacity.clamp_min(0.5), 0.0)
