"""Camera: pinhole cameras of F frames in OpenCV axes; RayBundle: rays through their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partnerface.compute.frame_record import FrameRecord

OPENGL_TO_OPENCV = (1.0, -1.0, -1.0)
"""Signs that turn OpenGL camera axes (y up, z backward) into OpenCV's (y down, z forward), and back."""


@dataclass
class Camera(FrameRecord):
    """Pinhole cameras. Camera axes are OpenCV's: x right, y down, z forward.

    Attributes:
        intrinsics: ``[F, 4]`` fx, fy, cx, cy in pixels; pixel centres lie at +0.5.
        camera_to_world: ``[F, 3, 4]`` metres.
        width: image width in pixels.
        height: image height in pixels.
    """

    intrinsics: Float[Tensor, "F 4"]
    camera_to_world: Float[Tensor, "F 3 4"]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.intrinsics)

    @classmethod
    def static(cls, frames: int, focal: float, width: int, height: int) -> Camera:
        """F times the camera of a monocular video: at the origin, world y up, looking along -z."""
        pose = torch.zeros(3, 4)
        pose[:, :3] = torch.diag(torch.tensor(OPENGL_TO_OPENCV))
        intrinsics = torch.tensor([focal, focal, width / 2, height / 2])
        return cls(intrinsics.repeat(frames, 1), pose.repeat(frames, 1, 1), width, height)

    def resized(self, width: int, height: int) -> Camera:
        """The same view at another resolution."""
        scale = torch.tensor([width / self.width, height / self.height]).repeat(2)
        return replace(
            self, intrinsics=self.intrinsics * scale.to(self.intrinsics), width=width, height=height
        )

    def world_to_camera(self, points: Tensor) -> Tensor:
        """World points ``[F, N, 3]`` in camera space ``[F, N, 3]``."""
        rotation, centre = self.camera_to_world[:, :, :3], self.camera_to_world[:, None, :, 3]
        return (points - centre) @ rotation

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points ``[F, N, 3]`` to pixels ``[F, N, 2]`` and depth along z ``[F, N]`` in metres."""
        local = self.world_to_camera(points)
        return perspective(local, self.intrinsics[:, None, :2], self.intrinsics[:, None, 2:]), local[..., 2]


def perspective(local: Tensor, focal: Tensor, centre: Tensor) -> Tensor:
    """Points in camera space ``[..., 3]`` (metres) to pixels ``[..., 2]``.

    ``focal`` is in pixels, a number or ``[..., 2]``; ``centre`` is the principal point ``[..., 2]``.
    """
    return focal * local[..., :2] / local[..., 2:] + centre


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

    @property
    def count(self) -> int:
        """Rays per frame, R."""
        return self.origins.shape[1]

    @property
    def frames(self) -> Tensor:
        """``[F * R]`` int32 frame of each ray, frame by frame."""
        frames, count = self.origins.shape[:2]
        numbers = torch.arange(frames, dtype=torch.int32, device=self.origins.device)
        return numbers[:, None].expand(-1, count).contiguous().view(-1)

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
    local = functional.pad((pixels - centre) / focal, (0, 1), value=1.0)
    towards = torch.bmm(local, camera.camera_to_world[:, :, :3].transpose(1, 2))
    directions = towards / torch.linalg.vector_norm(towards, dim=-1, keepdim=True)
    origins = camera.camera_to_world[:, None, :, 3].expand_as(directions)
    # A tensor of the two sizes would be copied to a GPU, for which the host would wait.
    uv = torch.stack([pixels[..., 0] / camera.width, pixels[..., 1] / camera.height], -1)
    return RayBundle(origins, directions, uv)


def image_pixels(width: int, height: int, device: torch.device | str = "cpu") -> Tensor:
    """``[H * W, 2]`` centres of all pixels, row by row."""
    rows, columns = (torch.arange(count, device=device) + 0.5 for count in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)
