"""SurfacePoints: points spread evenly over a mesh that moves, by faces and barycentric coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass
class SurfacePoints:
    """Q points on a mesh.

    Attributes:
        corners: ``[Q, 3]`` vertices of each point's face.
        barycentric: ``[Q, 3]`` their weights, sum to one.
    """

    corners: Int[Tensor, "Q 3"]
    barycentric: Float[Tensor, "Q 3"]

    def of(self, values: Tensor) -> Tensor:
        """Interpolate values ``[V, C]`` of the vertices: ``[Q, C]`` at the points."""
        return (values[self.corners] * self.barycentric[..., None]).sum(1)


def spread_points(vertices: Tensor, faces: Tensor, spacing: float) -> SurfacePoints:
    """Points no farther than ``spacing`` metres from their neighbours on faces ``[Fc, 3]``."""
    corners = vertices[faces]
    longest = (corners - corners.roll(1, 1)).norm(dim=-1).amax(1)
    pieces = (longest / spacing).ceil().clamp_min(1).long()
    chosen, barycentric = [faces[:0]], [vertices[:0, :3]]
    for n in pieces.unique().tolist():
        first, second = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        inside = first + second < n
        u = (first[inside] + 1 / 3) / n
        v = (second[inside] + 1 / 3) / n
        pattern = torch.stack([u, v, 1 - u - v], 1).to(vertices)
        some = faces[pieces == n]
        chosen.append(some.repeat_interleave(len(pattern), 0))
        barycentric.append(pattern.repeat(len(some), 1))
    return SurfacePoints(torch.cat(chosen), torch.cat(barycentric))


def thin_points(points: SurfacePoints, vertices: Tensor, spacing: float) -> SurfacePoints:
    """Keep one of the points in each cube with sides of ``spacing`` metres; vertices are ``[V, 3]``."""
    cells = (points.of(vertices) / spacing).floor().long()
    _, cell = cells.unique(dim=0, return_inverse=True)
    number = torch.arange(len(cell), device=cell.device)
    first = number.new_full((int(cell.max()) + 1,), len(cell)).scatter_reduce(0, cell, number, "amin")
    return SurfacePoints(points.corners[first], points.barycentric[first])
