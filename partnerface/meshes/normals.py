"""Vertex normals of triangle meshes, and points spread over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from partnerface.compute.warp_launch import as_vec3, launch, operator


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit vertex normals ``[..., V, 3]`` of vertices ``[..., V, 3]``, differentiable.

    They point to where the faces ``[Fc, 3]`` are seen counter-clockwise from; zero for a vertex of no face.
    """
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals.index_add_(-2, faces[:, k], face_normals)
    return functional.normalize(normals, dim=-1)


@wp.func
@no_type_check
def blend_corners(
    values: wp.array(dtype=wp.vec3, ndim=2), frame: int, corner: wp.vec3i, weight: wp.vec3
) -> wp.vec3:
    """The value at barycentric ``weight`` between the vertices ``corner`` of a face, of values ``[F, V]``."""
    return (
        weight[0] * values[frame, corner[0]]
        + weight[1] * values[frame, corner[1]]
        + weight[2] * values[frame, corner[2]]
    )


@wp.kernel(enable_backward=False)
def _add_face_normals(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.int32),
    vertices_per_frame: int,
    normals: wp.array(dtype=wp.vec3),
):
    frame, face = wp.tid()
    first = frame * vertices_per_frame
    i = 3 * face
    corner = vertices[first + faces[i]]
    normal = wp.cross(vertices[first + faces[i + 1]] - corner, vertices[first + faces[i + 2]] - corner)
    for k in range(3):
        wp.atomic_add(normals, first + faces[i + k], normal)


@wp.kernel(enable_backward=False)
def _normalise(normals: wp.array(dtype=wp.vec3)):
    i = wp.tid()
    normals[i] = wp.normalize(normals[i])


@operator("posed_normals")
def posed_normals(vertices: Tensor, corners: Tensor) -> Tensor:
    """`vertex_normals` of a mesh in F frames without gradient, in a tenth of the time.

    Sums are taken in another order than there: results agree to rounding, not to the bit. Vertices are
    ``[F, V, 3]`` float32, ``corners`` the faces ``[Fc, 3]`` int32.
    """
    frames, count = vertices.shape[:2]
    normals = torch.zeros_like(vertices)
    inputs = [as_vec3(vertices.view(-1, 3)), corners.view(-1), count, as_vec3(normals.view(-1, 3))]
    launch(_add_face_normals, (frames, len(corners)), inputs, vertices.device)
    launch(_normalise, frames * count, [as_vec3(normals.view(-1, 3))], vertices.device)
    return normals


@posed_normals.register_fake
def _(vertices: Tensor, corners: Tensor) -> Tensor:
    return torch.empty_like(vertices)


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
