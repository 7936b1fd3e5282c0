"""A z-buffer mesh rasterizer in plain torch: which face each pixel sees, and where on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_CANDIDATES = 16_000_000
"""Pixels of the bounding boxes of faces that are drawn at once, each about 100 bytes: a mesh whose faces all
cross the whole head, as those of a damaged file, would fill the memory."""


@dataclass
class MeshFragments:
    """The nearest surface at each pixel centre.

    Attributes:
        faces: ``[H, W]`` face index, -1 where nothing is seen.
        barycentric: ``[H, W, 3]`` perspective-correct barycentric coordinates.
        depth: ``[H, W]`` depth along the camera's z in metres, infinity where nothing is seen.
    """

    faces: Tensor
    barycentric: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """``[H, W]`` bool: a face is seen."""
        return self.faces >= 0

    def interpolate(self, attributes: Tensor, faces: Tensor) -> Tensor:
        """Vertex attributes ``[V, C]`` at the seen pixels ``[M, C]``, in the order of ``mask``."""
        corners = attributes[faces[self.faces[self.mask]]]
        return (corners * self.barycentric[self.mask][..., None]).sum(1)


def rasterize_mesh(
    pixels: Tensor,
    depth: Tensor,
    faces: Tensor,
    width: int,
    height: int,
    cull_backfaces: bool = True,
) -> MeshFragments:
    """Rasterize one mesh.

    Args:
        pixels: ``[V, 2]`` projected vertices in pixels, y down, centres at +0.5.
        depth: ``[V]`` depth along z, positive in front of the camera; faces with a vertex at or
            behind the camera are dropped.
        faces: ``[Fc, 3]`` counter-clockwise seen from outside.
        width: image width.
        height: image height.
        cull_backfaces: drop faces seen from behind.
    """
    corners, corner_depth = pixels[faces], depth[faces]
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # In an image with y down, a face that is counter-clockwise in space has negative area.
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    low = torch.ceil(corners.amin(1) - 0.5).clamp(0, 1e6).long()
    limit = torch.tensor([width - 1, height - 1], device=pixels.device)
    high = torch.minimum(torch.floor(corners.amax(1) - 0.5).clamp(-1, 1e6).long(), limit)
    extent = (high - low + 1).clamp_min(0)
    drawn = (corner_depth.amin(1) > 1e-6) & (area.abs() > 1e-12)
    if cull_backfaces:
        drawn &= area < 0
    count = torch.where(drawn, extent.prod(1), 0)
    if len(faces) > 1 and int(count.sum()) > MOST_CANDIDATES:
        half = len(faces) // 2
        one, other = (
            rasterize_mesh(pixels, depth, part, width, height, cull_backfaces)
            for part in (faces[:half], faces[half:])
        )
        nearer = other.mask & (other.depth <= one.depth)
        return MeshFragments(
            torch.where(nearer, other.faces + half, one.faces),
            torch.where(nearer[..., None], other.barycentric, one.barycentric),
            torch.where(nearer, other.depth, one.depth),
        )
    # One candidate per pixel of each face's bounding box, with all that it needs of its face.
    face = torch.repeat_interleave(torch.arange(len(faces), device=pixels.device), count)
    start = count.cumsum(0) - count
    places = torch.stack([start, extent[:, 0], low[:, 0], low[:, 1]]).int().index_select(1, face)
    within = torch.arange(len(face), device=pixels.device, dtype=torch.int32) - places[0]
    row = torch.div(within, places[1], rounding_mode="floor")
    x, y = places[2] + within - row * places[1], places[3] + row
    shapes = torch.cat([corners[:, 0], edge1, edge2, area[:, None]], 1).T.contiguous().index_select(1, face)
    dx, dy = x + 0.5 - shapes[0], y + 0.5 - shapes[1]
    b1 = (dx * shapes[5] - dy * shapes[4]) / shapes[6]
    b2 = (shapes[2] * dy - shapes[3] * dx) / shapes[6]
    b0 = 1 - b1 - b2
    inside = ((b0 >= 0) & (b1 >= 0) & (b2 >= 0)).nonzero()[:, 0]
    face, barycentric = face[inside], torch.stack([b0[inside], b1[inside], b2[inside]], 1)
    pixel = (y[inside] * width + x[inside]).long()
    # 1/z is linear in screen space, so its largest value marks the nearest face.
    weighted = barycentric / corner_depth[face]
    inverse_depth = weighted.sum(1)
    nearest = torch.zeros(height * width, device=pixels.device, dtype=depth.dtype)
    nearest.scatter_reduce_(0, pixel, inverse_depth, "amax")
    wins = inverse_depth >= nearest[pixel]
    seen_faces = torch.full((height * width,), -1, dtype=torch.long, device=pixels.device)
    seen_barycentric = torch.zeros(height * width, 3, device=pixels.device, dtype=depth.dtype)
    # Two faces can tie on a shared edge; the face index decides, so that both arrays agree.
    seen_faces.scatter_reduce_(0, pixel[wins], face[wins], "amax")
    kept = wins & (seen_faces[pixel] == face)
    seen_barycentric[pixel[kept]] = weighted[kept] / inverse_depth[kept, None]
    return MeshFragments(
        seen_faces.view(height, width),
        seen_barycentric.view(height, width, 3),
        (1 / nearest).view(height, width),
    )
