"""RenderedFrame: a whole frame as the avatar renders it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from partnerface.avatar.picture import Picture
from partnerface.data.batches.datasets import EvaluationFrame


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
    def of(cls, frame: EvaluationFrame, picture: Picture) -> RenderedFrame:
        """A picture of the frame's view, over white."""
        return cls(frame, picture.on_white(), picture.alpha, picture.depth, picture.part_weights)
