"""Picture: one rendered picture of an avatar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from partnerface.errors import UserError
from partnerface.files.images import write_image
from partnerface.rendering.rendered_rays import RenderedRays


def image_bytes(*images: Tensor) -> np.ndarray:
    """``[H, W, 3]`` uint8 of an image ``[3, H, W]`` in [0, 1], or of several side by side."""
    row = torch.cat([image.detach().float().cpu() for image in images], -1)
    return (row.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


@dataclass
class Picture:
    """One picture of H x W pixels.

    Attributes:
        rgb: ``[3, H, W]`` colour in [0, 1], premultiplied by alpha.
        alpha: ``[H, W]`` opacity of head and torso, in [0, 1].
        depth: ``[H, W]`` metres along the ray, 0 where there is no head.
        part_weights: ``[H, W, P]`` part weights composited along the ray, or None if not requested.
    """

    rgb: Float[Tensor, "3 H W"]
    alpha: Float[Tensor, "H W"]
    depth: Float[Tensor, "H W"]
    part_weights: Float[Tensor, "H W P"] | None = None

    @classmethod
    def from_rays(cls, rays: RenderedRays, height: int, width: int) -> Picture:
        """Lay out the rays ``[1, H * W]`` of a picture, listed row by row."""
        shape, weights = (height, width), rays.part_weights
        return cls(
            rgb=rays.rgb[0].view(*shape, 3).permute(2, 0, 1),
            alpha=rays.opacity[0].view(shape),
            depth=rays.surface_depth()[0].view(shape),
            part_weights=None if weights is None else weights[0].view(*shape, -1),
        )

    def over(self, background: Tensor) -> Tensor:
        """``[3, H, W]`` over an opaque colour ``[3]`` or picture ``[3, H, W]``."""
        if background.ndim == 1:
            background = background[:, None, None]
        return self.rgb + (1 - self.alpha) * background

    def on_white(self) -> Tensor:
        """``[3, H, W]`` over white, the background of all metrics."""
        return self.over(torch.ones(3, device=self.rgb.device))

    def to_bytes(self) -> np.ndarray:
        """``[H, W, 3]`` uint8, over white."""
        return image_bytes(self.on_white())

    def save(self, path: Path | str) -> None:
        """Write a PNG or JPEG file, over white.

        Raises:
            UserError: it cannot be written, or its suffix names neither.
        """
        path = Path(path)
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise UserError(f"{path}: a picture is written as .png or .jpg")
        write_image(path, self.to_bytes())
