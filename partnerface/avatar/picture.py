"""Picture: one rendered picture of an avatar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import image_pixels
from partnerface.errors import UserError
from partnerface.files.images import write_image
from partnerface.rendering.rendered_rays import RenderedRays


def image_bytes(*images: Tensor) -> np.ndarray:
    """``[H, W, C]`` uint8 of an image ``[C, H, W]`` in [0, 1], or of several side by side."""
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
        intrinsics: ``[4]`` fx, fy, cx, cy in pixels of the camera, or None if not known.
    """

    rgb: Float[Tensor, "3 H W"]
    alpha: Float[Tensor, "H W"]
    depth: Float[Tensor, "H W"]
    part_weights: Float[Tensor, "H W P"] | None = None
    intrinsics: Float[Tensor, 4] | None = None

    @classmethod
    def from_rays(
        cls, rays: RenderedRays, height: int, width: int, intrinsics: Tensor | None = None
    ) -> Picture:
        """Lay out the rays ``[1, H * W]`` of a picture, listed row by row."""
        shape, weights = (height, width), rays.part_weights
        return cls(
            rgb=rays.rgb[0].view(*shape, 3).permute(2, 0, 1),
            alpha=rays.opacity[0].view(shape),
            depth=rays.surface_depth()[0].view(shape),
            part_weights=None if weights is None else weights[0].view(*shape, -1),
            intrinsics=intrinsics,
        )

    @property
    def normals(self) -> Tensor:
        """``[3, H, W]`` unit normals of the head, from its depth: 0 where there is no head.

        Axes of the camera (OpenCV): x right, y down, z forward, so that z is below 0 where the surface faces
        the camera. They are as rough as the depth, whose hairs and outlines are means of several surfaces.

        Raises:
            UserError: the picture does not know its camera.
        """
        if self.intrinsics is None:
            raise UserError("picture: its normals need the camera; give it intrinsics")
        return normals_of_depth(self.depth, self.intrinsics)

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

    def to_rgba(self) -> np.ndarray:
        """``[H, W, 4]`` uint8 with straight alpha, as PNG has it: colours are not multiplied by alpha."""
        straight = torch.where(self.alpha > 0, self.rgb / self.alpha.clamp_min(1e-6), 0.0)
        return image_bytes(torch.cat([straight, self.alpha[None]]))

    def save(
        self,
        path: Path | str,
        background: Literal["white", "transparent"] | Sequence[float] | Tensor = "white",
    ) -> None:
        """Write a PNG or JPEG file.

        Args:
            path: the file.
            background: what is behind the head: ``white``, a colour of three numbers in [0, 1], a picture
                ``[3, H, W]``, or ``transparent`` for a PNG with straight alpha.

        Raises:
            UserError: it cannot be written, its suffix names neither, or JPEG is to be transparent.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".png", ".jpg", ".jpeg"):
            raise UserError(f"{path}: a picture is written as .png or .jpg")
        if isinstance(background, str):
            if background not in ("white", "transparent"):
                raise UserError(f"background {background}: give white, transparent or three numbers")
            if background == "transparent" and suffix != ".png":
                raise UserError(f"{path}: JPEG cannot be transparent; write a .png")
            write_image(path, self.to_bytes() if background == "white" else self.to_rgba())
            return
        behind = torch.as_tensor(background, dtype=self.rgb.dtype, device=self.rgb.device)
        if behind.shape not in ((3,), self.rgb.shape):
            raise UserError(
                f"background of shape {tuple(behind.shape)}: give 3 numbers or a 3 x H x W picture"
            )
        write_image(path, image_bytes(self.over(behind)))


def normals_of_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """``[3, H, W]`` unit normals in camera axes of a depth along the rays ``[H, W]``; 0 where depth is 0.

    The differences to both neighbours of a pixel count by how little the depth changes, so that at an outline
    the side of the nearer surface does not pull the normal of the farther one; a pixel without a neighbour in
    a row or a column has none.
    """
    height, width = depth.shape
    pixels = image_pixels(width, height, depth.device)
    plane = (pixels - intrinsics[2:]) / intrinsics[:2]
    rays = functional.normalize(torch.cat([plane, torch.ones_like(plane[:, :1])], 1), dim=1)
    points = (rays * depth.reshape(-1, 1)).view(height, width, 3)

    def slope(axis: int) -> Tensor:
        """Change of the point from a pixel to the next along an axis."""
        step = points.diff(dim=axis)
        both = (depth > 0).unfold(axis, 2, 1).all(-1)
        change = depth.diff(dim=axis).abs() + 1e-5
        weight = torch.where(both, change**-2, 0.0)[..., None]
        padding = (0, 0, 1, 1) if axis == 1 else (0, 0, 0, 0, 1, 1)
        step, weight = functional.pad(weight * step, padding), functional.pad(weight, padding)
        count = depth.shape[axis]
        total = step.narrow(axis, 0, count) + step.narrow(axis, 1, count)
        weights = weight.narrow(axis, 0, count) + weight.narrow(axis, 1, count)
        return total / weights.clamp_min(1e-12)

    # x right, y down: this order of the product faces the camera.
    normals = functional.normalize(torch.linalg.cross(slope(0), slope(1)), dim=-1)
    return torch.where(depth[..., None] > 0, normals, 0.0).permute(2, 0, 1)
