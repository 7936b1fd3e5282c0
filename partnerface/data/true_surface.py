"""TrueSurface: the surface behind the pixels of a frame, where a reader knows it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class TrueSurface:
    """What each pixel's ray meets.

    Attributes:
        depth: ``[H, W]`` metres along the ray, 0 where it meets no head.
        canonical: ``[H, W, 3]`` canonical place of the point that it meets, metres: where that point of
            the person lies in rest pose, in the head model's canonical expression, without the fine
            motion that expressions bring.
    """

    depth: Tensor
    canonical: Tensor

    def to(self, device: torch.device) -> TrueSurface:
        return TrueSurface(self.depth.to(device), self.canonical.to(device))
