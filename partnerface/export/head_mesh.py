"""HeadMesh: the part of a head model's mesh that is exported, with texture coordinates of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.method import AvatarMethod
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import MeshFragments, rasterize_mesh

TEXTURE_SHARE = {"eye_left": 1.5, "eye_right": 1.5, "mouth_cavity": 0.5, "tongue": 0.5}
"""Texels along a metre of a part, relative to the skin: an iris is small and looked at."""

GUTTER = 1 / 256
"""Space around each chart, as a share of the texture's side: neighbours stay apart in small mipmaps."""


@dataclass
class HeadMesh:
    """Triangles with a vertex of their own on either side of each seam of the texture.

    Attributes:
        vertex: ``[N]`` the head model's vertex at each vertex of the mesh.
        uv: ``[N, 2]`` texture coordinates in [0, 1], from the picture's upper left corner, v down.
        faces: ``[Fc, 3]`` counter-clockwise seen from outside.
        parts: ``[Fc]`` the head model's part of each face.
        model_faces: ``[Fc, 3]`` the same faces by the head model's vertices.
    """

    vertex: Int[Tensor, " N"]
    uv: Float[Tensor, "N 2"]
    faces: Int[Tensor, "Fc 3"]
    parts: Int[Tensor, " Fc"]
    model_faces: Int[Tensor, "Fc 3"]

    def normals(self, vertices: Tensor) -> Tensor:
        """``[..., N, 3]`` unit normals of the head model's vertices ``[..., V, 3]``, smooth across seams."""
        return vertex_normals(vertices, self.model_faces)[..., self.vertex, :]

    def texels(self, size: int) -> MeshFragments:
        """The face of the mesh at each texel of a square texture."""
        depth = torch.ones(len(self.uv))
        return rasterize_mesh(self.uv * size, depth, self.faces, size, size, cull_backfaces=False)


def exported_surface(avatar: AvatarMethod) -> Avatar:
    """The avatar itself, checked to have a canonical head whose surface can be exported.

    Raises:
        UserError: it is of a method without one.
    """
    if not isinstance(avatar, Avatar):
        raise UserError(
            f"export: a {type(avatar).__name__} avatar has no canonical head; train one with "
            "configs/method/part_deformation.yaml"
        )
    return avatar


def head_mesh(head_model: HeadModel, chosen: Tensor) -> HeadMesh:
    """The faces ``chosen`` ``[Fc]`` bool of a head model, their charts packed into one texture.

    Raises:
        UserError: the head model has no texture coordinates, as FLAME.
    """
    asset, faces = head_model.asset, head_model.faces[chosen]
    if not np.ptp(asset.uv[asset.uv_faces], axis=1).any():
        raise UserError(
            f"head model {asset.name}: has no texture coordinates; use export ply, with vertex colours"
        )
    uv_faces = torch.as_tensor(asset.uv_faces.astype("int64"))[chosen.cpu()]
    parts = head_model.face_parts[chosen]
    faces, parts = faces.cpu(), parts.cpu()
    pairs = torch.stack([faces.reshape(-1), uv_faces.reshape(-1)], 1)
    kept, corner = pairs.unique(dim=0, return_inverse=True)
    split = corner.view(-1, 3)
    share = torch.tensor([TEXTURE_SHARE.get(name, 1.0) for name in asset.part_names])[parts]
    positions = head_model.template_vertices.cpu()[kept[:, 0]]
    uv = packed_charts(torch.as_tensor(asset.uv).float()[kept[:, 1]], split, positions, share)
    return HeadMesh(kept[:, 0], uv, split, parts, faces)


def packed_charts(uv: Tensor, faces: Tensor, positions: Tensor, share: Tensor) -> Tensor:
    """Lay the charts of an unwrapped mesh out anew, in rows, as large as fits into [0, 1] squared.

    Args:
        uv: ``[N, 2]`` texture coordinates, no chart of which overlaps itself.
        faces: ``[Fc, 3]``; a chart is what they connect.
        positions: ``[N, 3]`` metres.
        share: ``[Fc]`` texels along a metre, relative to each other.

    Returns:
        ``[N, 2]``.
    """
    chart = _connected(faces, len(uv))
    numbers = chart[faces[:, 0]]
    uv = uv.clone()
    boxes = []
    for number in numbers.unique().tolist():
        mine, own = chart == number, numbers == number
        scale = (_areas(positions[faces[own]]).sum() / _areas(uv[faces[own]]).sum().clamp_min(1e-12)).sqrt()
        place = uv[mine] * scale * share[own].mean()
        # Charts lie on their long side: rows waste less.
        if (size := np.ptp(place.numpy(), axis=0))[1] > size[0]:
            place = torch.stack([place[:, 1], -place[:, 0]], 1)
        uv[mine] = place - place.amin(0)
        boxes.append((mine, uv[mine].amax(0)))
    boxes.sort(key=lambda box: -float(box[1][1]))
    scale = 1 / float(torch.stack([size for _, size in boxes]).max())
    while (corners := _rows([(size * scale).tolist() for _, size in boxes])) is None:
        scale *= 0.99
    for (mine, _), corner in zip(boxes, corners, strict=True):
        uv[mine] = uv[mine] * scale + torch.tensor(corner)
    return torch.stack([uv[:, 0], 1 - uv[:, 1]], 1)


def _rows(sizes: list[list[float]]) -> list[tuple[float, float]] | None:
    """Lower left corners of boxes, the tallest first, in rows of width one; None if they do not fit."""
    corners, x, y, height = [], GUTTER, GUTTER, 0.0
    for width, tall in sizes:
        if x + width + GUTTER > 1:
            x, y, height = GUTTER, y + height + GUTTER, 0.0
        corners.append((x, y))
        x, height = x + width + GUTTER, max(height, tall)
        if x > 1 or y + height + GUTTER > 1:
            return None
    return corners


def _connected(faces: Tensor, count: int) -> Tensor:
    """``[N]`` the lowest number among the vertices that faces connect each vertex to."""
    label = torch.arange(count)
    while True:
        lowest = label[faces].amin(1, keepdim=True).expand(-1, 3)
        lower = label.scatter_reduce(0, faces.reshape(-1), lowest.reshape(-1), "amin")
        if lower.equal(label):
            return label
        label = lower


def _areas(corners: Tensor) -> Tensor:
    """``[Fc]`` areas of triangles ``[Fc, 3, 2 or 3]``."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    gram = first.square().sum(1) * second.square().sum(1) - (first * second).sum(1).square()
    return gram.clamp_min(0).sqrt() / 2
