"""RayBundle: rays through pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera


@dataclass
class RayBundle:
    """R rays for each of F frames.

    Attributes:
        origins: ``[F, R, 3]`` world space, metres.
        directions: ``[F, R, 3]`` unit vectors in world space.
        image_uv: ``[F, R, 2]`` image coordinates divided by width and height, in [0, 1].
    """

    origins: Float[Tensor, "F R 3"]
    directions: Float[Tensor, "F R 3"]
    image_uv: Float[Tensor, "F R 2"]

    def frame(self, index: int) -> RayBundle:
        """The rays ``[1, R]`` of one frame."""
        f = slice(index, index + 1)
        return RayBundle(self.origins[f], self.directions[f], self.image_uv[f])

    def select(self, rays: slice | Tensor) -> RayBundle:
        """Some rays of every frame."""
        return RayBundle(self.origins[:, rays], self.directions[:, rays], self.image_uv[:, rays])


def pixel_rays(camera: Camera, pixels: Tensor) -> RayBundle:
    """Rays through pixel positions ``[F, R, 2]`` (x, y in pixels, centres at +0.5)."""
    focal, centre = camera.intrinsics[:, None, :2], camera.intrinsics[:, None, 2:]
    plane = (pixels - centre) / focal
    local = torch.cat([plane, torch.ones_like(plane[..., :1])], -1)
    rotation = camera.camera_to_world[:, :, :3]
    directions = functional.normalize(local @ rotation.transpose(1, 2), dim=-1)
    origins = camera.camera_to_world[:, None, :, 3].expand_as(directions)
    size = torch.tensor([camera.width, camera.height]).to(pixels)
    return RayBundle(origins, directions, pixels / size)


def image_pixels(width: int, height: int) -> Tensor:
    """``[H * W, 2]`` centres of all pixels, row by row."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)
