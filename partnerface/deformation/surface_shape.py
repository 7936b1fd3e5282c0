"""Shape of the skin under the fine motion: where it faces, and where it is hollow, for a field that shades.

Nine tenths of what fine motion changes in a picture is shading, which offsets alone do not bring with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import PosedHead
from partnerface.meshes.normals import vertex_normals

RING = 0.002
"""Metres from a point to the neighbours that its normal and its relief are taken from: one pixel of a face at
256 px. Folds that are finer do not show."""


@dataclass
class PosedNormals:
    """Where the tracked surface of F posed heads faces, without fine motion and without gradient.

    In camera axes (OpenCV): a video's light stays with its camera, whatever a tracker takes for the world.

    Attributes:
        normals: ``[F, V, 3]`` unit normals of the vertices.
        rotation: ``[F, 3, 3]`` canonical axes to those of the camera.
    """

    normals: Float[Tensor, "F V 3"]
    rotation: Float[Tensor, "F 3 3"]

    @classmethod
    def of(cls, head: PosedHead, faces: Tensor, camera: Camera) -> PosedNormals:
        """Those of posed heads with faces ``[Fc, 3]`` before their cameras."""
        towards = camera.camera_to_world[:, :, :3]
        normals = torch.bmm(vertex_normals(head.vertices.detach(), faces), towards)
        return cls(normals, torch.bmm(towards.transpose(1, 2), head.head_rotation.detach()))

    def at(self, corners: Tensor, barycentric: Tensor, frame: Tensor) -> Tensor:
        """``[N, 3]`` unit normals in canonical axes, at barycentric places ``[N, 3]`` between the vertices
        ``[N, 3]`` of frames ``[N]``.
        """
        number = frame.long()
        blended = (self.normals[number[:, None], corners] * barycentric[..., None]).sum(1)
        return _turned(self.rotation.transpose(1, 2)[number], functional.normalize(blended, dim=1))


def surface_shape(
    offsets_at: Callable[[Tensor, Tensor], Tensor],
    positions: Tensor,
    offsets: Tensor,
    normals: Tensor,
    frame: Tensor,
    rotation: Tensor,
    extent: Tensor,
) -> Tensor:
    """Normal and relief of the surface that offsets make of the tracked one.

    A point of the picture at u shows the skin of u + o(u), so that skin at u stands h = -o . n above the
    tracked surface. With the gradient of h along the surface, by central differences over `RING`, the normal
    is n - grad h; the relief is h less its mean over the four neighbours, below zero in a crease.

    Args:
        offsets_at: offsets ``[M, 3]`` of positions ``[M, 3]`` of frames ``[M]`` int32, in sides of the cube.
        positions: ``[N, 3]`` canonical positions in [0, 1] of the cube.
        offsets: ``[N, 3]`` theirs.
        normals: ``[N, 3]`` unit normals of the tracked surface in canonical axes.
        frame: ``[N]`` int32 frame of each point.
        rotation: ``[F, 3, 3]`` canonical axes to those of the camera.
        extent: side of the canonical cube in metres, a scalar.

    Returns:
        ``[N, 4]`` (`SHAPE_WIDTH`): unit normal in camera axes, relief in millimetres.
    """
    step = RING / extent
    first, second = tangents(normals)
    around = torch.stack([first, -first, second, -second])
    neighbours = (positions + step * around).flatten(0, 1)
    moved = offsets_at(neighbours, frame.repeat(4)).view_as(around)
    ahead, back, left, right = -(moved * normals).sum(2, keepdim=True)
    slope = ((ahead - back) * first + (left - right) * second) / (2 * step)
    facing = _turned(rotation[frame.long()], functional.normalize(normals - slope, dim=1))
    height = -(offsets * normals).sum(1, keepdim=True)
    relief = 1000 * extent * (height - (ahead + back + left + right) / 4)
    return torch.cat([facing, relief], 1)


def tangents(normals: Tensor) -> tuple[Tensor, Tensor]:
    """Two unit vectors ``[N, 3]`` that are perpendicular to unit normals ``[N, 3]`` and to each other."""
    x, y, z = normals.unbind(1)
    nothing = torch.zeros_like(x)
    # Across y, but for normals close to it.
    steep = y.abs() > 0.8
    across = torch.where(steep[:, None], torch.stack([nothing, z, -y], 1), torch.stack([-z, nothing, x], 1))
    first = functional.normalize(across, dim=1)
    return first, torch.linalg.cross(normals, first)


def along_surface(offsets: Tensor, normals: Tensor) -> Tensor:
    """``[N, 3]`` the part of offsets ``[N, 3]`` that is perpendicular to unit normals ``[N, 3]``."""
    return offsets - (offsets * normals).sum(1, keepdim=True) * normals


def _turned(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Vectors ``[N, 3]``, each by its rotation ``[N, 3, 3]``."""
    return torch.bmm(rotation, vectors[..., None])[..., 0]
