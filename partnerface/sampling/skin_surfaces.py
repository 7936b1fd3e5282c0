"""Surfaces that rays are sampled against: the opaque backstop in the head, and cells of the moving skin."""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_bits, as_mat33, as_vec3, launch, operator
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import neck_share
from partnerface.meshes.bvh import cast_rays
from partnerface.meshes.normals import SurfacePoints, blend_corners, vertex_normals
from partnerface.sampling.occupancy import SURFACE_CELLS

SOLID_PARTS = ("eye_left", "eye_right", "mouth_cavity", "teeth_upper", "teeth_lower", "tongue")
THINNEST_OVER_SOLID = 0.5
"""Share of the thickness that skin needs over a solid part: a cheek over the mouth is no lip."""


def backstop_surface(
    head_model: HeadModel, vertices: Tensor, surface: Tensor, erosion: float, thinnest: float
) -> tuple[Tensor, Tensor]:
    """Faces of the backstop and how far each vertex lies inside the skin.

    Args:
        head_model: supplies the parts.
        vertices: ``[V, 3]`` canonical vertices.
        surface: ``[Fc]`` bool, the faces to consider (the head without the torso).
        erosion: greatest depth below the skin in metres.
        thinnest: skin over less than this many metres (ears, nostrils), or half of it over a solid part
            (lips, lids), has no backstop, because a real ear or lip may lie beside the model's.

    Returns:
        faces ``[Fb, 3]`` and depth ``[V]`` in metres.
    """
    faces = head_model.faces
    skin = surface & head_model.part_faces("skin")
    normals = vertex_normals(vertices, faces[surface])
    inward, through_skin = (
        _thickness(cast_rays(vertices, faces[some], vertices - 1e-4 * normals, -normals))
        for some in (surface, skin)
    )
    over_solid = inward < through_skin
    thick = inward >= torch.where(over_solid, THINNEST_OVER_SOLID * thinnest, thinnest)
    # A real neck is often thinner than the model's; the matte alone decides how opaque it is.
    head = neck_share(head_model) < 0.75
    solid = surface & head_model.part_faces(*SOLID_PARTS)
    kept = solid | (skin & (thick & head)[faces].all(1))
    depth = torch.zeros(len(vertices), device=vertices.device)
    skin_vertices = faces[skin].unique()
    depth[skin_vertices] = (0.3 * inward[skin_vertices]).clamp(0, erosion)
    depth[faces[solid].unique()] = 0
    return faces[kept], depth


def _thickness(distance: Tensor) -> Tensor:
    """A ray that meets nothing leaves through the open neck: there the head is thick."""
    return torch.where(distance < 0, torch.inf, distance)


@wp.func
@no_type_check
def _mark(q: wp.vec3, cells: int, frame: int, marked: wp.array2d(dtype=wp.uint32)):
    x = wp.clamp(int(q[0]), 0, cells - 1)
    y = wp.clamp(int(q[1]), 0, cells - 1)
    z = wp.clamp(int(q[2]), 0, cells - 1)
    words = (cells + 31) / 32
    wp.atomic_or(marked, frame, (z * cells + y) * words + x / 32, wp.uint32(1) << wp.uint32(x & 31))


@wp.kernel(enable_backward=False)
@no_type_check
def _mark_shell(
    vertices: wp.array2d(dtype=wp.vec3),
    normals: wp.array2d(dtype=wp.vec3),
    corners: wp.array(dtype=wp.vec3i),
    barycentric: wp.array(dtype=wp.vec3),
    reach: wp.array(dtype=wp.float32),
    rotation: wp.array(dtype=wp.mat33),
    translation: wp.array(dtype=wp.vec3),
    low: wp.array(dtype=wp.float32),
    extent: wp.array(dtype=wp.float32),
    cells: int,
    marked: wp.array2d(dtype=wp.uint32),
):
    frame, i = wp.tid()
    corner = corners[i]
    weight = barycentric[i]
    into_rigid = wp.transpose(rotation[frame])
    scale = float(cells) / extent[0]
    skin = into_rigid * (blend_corners(vertices, frame, corner, weight) - translation[frame])
    outwards = into_rigid * blend_corners(normals, frame, corner, weight)
    place = (skin - wp.vec3(low[0], low[1], low[2])) * scale
    _mark(place, cells, frame, marked)
    _mark(place + outwards * (reach[i] * scale), cells, frame, marked)


@wp.func
@no_type_check
def _of_three_rows(
    marked: wp.array2d(dtype=wp.uint32), frame: int, row: int, w: int, words: int, cells: int
) -> wp.uint32:
    """Word ``w`` of a row, and of those before and after it in y."""
    i = row * words + w
    found = marked[frame, i]
    if row % cells > 0:
        found |= marked[frame, i - words]
    if row % cells + 1 < cells:
        found |= marked[frame, i + words]
    return found


@wp.kernel(enable_backward=False)
@no_type_check
def _widen_in_planes(marked: wp.array2d(dtype=wp.uint32), cells: int, widened: wp.array2d(dtype=wp.uint32)):
    """By one cell along x and y; a thread takes a row of x."""
    frame, row = wp.tid()
    words = (cells + 31) / 32
    before = wp.uint32(0)
    bits = _of_three_rows(marked, frame, row, 0, words, cells)
    for w in range(words):
        after = wp.uint32(0)
        if w + 1 < words:
            after = _of_three_rows(marked, frame, row, w + 1, words, cells)
        found = bits | (bits << wp.uint32(1)) | (bits >> wp.uint32(1))
        widened[frame, row * words + w] = found | (before >> wp.uint32(31)) | (after << wp.uint32(31))
        before = bits
        bits = after


@wp.kernel(enable_backward=False)
@no_type_check
def _widen_across_planes(
    marked: wp.array2d(dtype=wp.uint32), cells: int, widened: wp.array2d(dtype=wp.uint32)
):
    """By one cell along z; a thread takes a row of x."""
    frame, row = wp.tid()
    words = (cells + 31) / 32
    plane = cells * words
    for i in range(row * words, (row + 1) * words):
        found = marked[frame, i]
        if row >= cells:
            found |= marked[frame, i - plane]
        if row + cells < cells * cells:
            found |= marked[frame, i + plane]
        widened[frame, i] = found


def shell_cells(
    vertices: Tensor,
    normals: Tensor,
    points: SurfacePoints,
    reach: Tensor,
    pose: tuple[Tensor, Tensor],
    cube: tuple[Tensor, Tensor],
    cells: int = SURFACE_CELLS,
) -> Tensor:
    """Cells within one cell of the moving skin and of its shell, a bit each.

    Args:
        vertices: ``[F, V, 3]`` in world space.
        normals: ``[F, V, 3]``.
        points: Q points on the moving skin, corners int32.
        reach: ``[Q]`` thickness of the shell in metres.
        pose: rotation ``[F, 3, 3]`` and translation ``[F, 3]`` of the rigid head, head to world.
        cube: lowest corner ``[3]`` and side of the cube in the rigid head frame.
        cells: along an axis.

    Returns:
        ``[F, cells^2 * W]`` int32, rows of x in W = cells / 32 words (rounded up), y before z: small enough
        to stay in a core's cache while rays march through it. Bits beyond the last cell are undefined.
    """
    on_skin = points.corners, points.barycentric, reach
    place = *(value.contiguous() for value in pose), cube[0], cube[1].view(1)
    return mark_shell(vertices, normals, *on_skin, *place, cells)


@operator("mark_shell")
def mark_shell(
    vertices: Tensor,
    normals: Tensor,
    corners: Tensor,
    barycentric: Tensor,
    reach: Tensor,
    rotation: Tensor,
    translation: Tensor,
    low: Tensor,
    extent: Tensor,
    cells: int,
) -> Tensor:
    """`shell_cells`, its records as tensors: ``extent`` is ``[1]``."""
    frames, row, device = len(vertices), -(-cells // 32), vertices.device
    marked = torch.zeros(frames, cells**2 * row, dtype=torch.int32, device=device)
    other = torch.empty_like(marked)
    surface = as_vec3(vertices), as_vec3(normals), wp.from_torch(corners, dtype=wp.vec3i)
    place = as_mat33(rotation), as_vec3(translation), low, extent
    first, second = as_bits(marked), as_bits(other)
    inputs = [*surface, as_vec3(barycentric), reach, *place, cells, first]
    launch(_mark_shell, (frames, len(reach)), inputs, device)
    rows = frames, cells**2
    launch(_widen_in_planes, rows, [first, cells, second], device)
    launch(_widen_across_planes, rows, [second, cells, first], device)
    return marked


@mark_shell.register_fake
def _(vertices: Tensor, *rest: Any) -> Tensor:
    cells = rest[-1]
    return vertices.new_empty(len(vertices), cells**2 * -(-cells // 32), dtype=torch.int32)
