"""Camera: pinhole cameras of F frames in OpenCV axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

OPENGL_TO_OPENCV = (1.0, -1.0, -1.0)
"""Signs that turn OpenGL camera axes (y up, z backward) into OpenCV's (y down, z forward), and back."""


@dataclass
class Camera:
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

    def select(self, frames: Tensor | slice | Sequence[int]) -> Camera:
        """The cameras of some frames."""
        return self._map(lambda value: value[frames])

    def to(self, *args, **kwargs) -> Camera:
        """Like ``Tensor.to`` for both tensors."""
        return self._map(lambda value: value.to(*args, **kwargs))

    def clone(self) -> Camera:
        """A copy that shares no memory."""
        return self._map(lambda value: value.clone())

    @classmethod
    def concatenate(cls, pieces: Sequence[Camera]) -> Camera:
        """Join the frames of pieces of one picture size."""
        return replace(
            pieces[0],
            intrinsics=torch.cat([piece.intrinsics for piece in pieces]),
            camera_to_world=torch.cat([piece.camera_to_world for piece in pieces]),
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> Camera:
        return replace(self, intrinsics=change(self.intrinsics), camera_to_world=change(self.camera_to_world))

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
    """Points in camera space ``[..., 3]`` to pixels ``[..., 2]``.

    Args:
        local: x right, y down, z forward, in metres.
        focal: focal length in pixels, a number or ``[..., 2]``.
        centre: ``[..., 2]`` principal point in pixels.
    """
    return focal * local[..., :2] / local[..., 2:] + centre
