"""Surfaces that rays are sampled against: the opaque backstop in the head, and cells of the moving skin."""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, launch
from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.bvh import cast_rays
from partnerface.meshes.dilation import dilate
from partnerface.meshes.normals import SurfacePoints, vertex_normals
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
    head = head_model.head_weights() > 0.25
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
def _mark(p: wp.vec3, low: wp.vec3, extent: float, cells: int, marked: wp.array(dtype=wp.uint8, ndim=3)):
    q = (p - low) * (float(cells) / extent)
    x = wp.clamp(int(q[0]), 0, cells - 1)
    y = wp.clamp(int(q[1]), 0, cells - 1)
    z = wp.clamp(int(q[2]), 0, cells - 1)
    marked[z, y, x] = wp.uint8(1)


@wp.kernel(enable_backward=False)
@no_type_check
def _mark_shell(
    vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    corners: wp.array(dtype=wp.int32, ndim=2),
    barycentric: wp.array(dtype=wp.vec3),
    reach: wp.array(dtype=wp.float32),
    rotation: wp.array(dtype=wp.float32, ndim=2),
    translation: wp.array(dtype=wp.float32),
    low: wp.array(dtype=wp.float32),
    extent: wp.array(dtype=wp.float32),
    cells: int,
    marked: wp.array(dtype=wp.uint8, ndim=3),
):
    i = wp.tid()
    skin = wp.vec3()
    outwards = wp.vec3()
    for k in range(3):
        skin += barycentric[i][k] * vertices[corners[i, k]]
        outwards += barycentric[i][k] * normals[corners[i, k]]
    world = skin - wp.vec3(translation[0], translation[1], translation[2])
    into_rigid = wp.mat33()
    for row in range(3):
        for column in range(3):
            into_rigid[row, column] = rotation[column, row]
    corner = wp.vec3(low[0], low[1], low[2])
    _mark(into_rigid * world, corner, extent[0], cells, marked)
    _mark(into_rigid * (world + reach[i] * outwards), corner, extent[0], cells, marked)


def shell_cells(
    vertices: Tensor,
    normals: Tensor,
    points: SurfacePoints,
    reach: Tensor,
    pose: tuple[Tensor, Tensor],
    cube: tuple[Tensor, Tensor],
    cells: int = SURFACE_CELLS,
) -> Tensor:
    """Cells ``[cells^3]`` uint8 within one cell of the moving skin and of its shell.

    Args:
        vertices: ``[V, 3]`` in world space.
        normals: ``[V, 3]``.
        points: Q points on the moving skin, corners int32.
        reach: ``[Q]`` thickness of the shell in metres.
        pose: rotation ``[3, 3]`` and translation ``[3]`` of the rigid head, head to world.
        cube: lowest corner ``[3]`` and side of the cube in the rigid head frame.
        cells: along an axis.
    """
    (rotation, translation), (low, extent) = pose, cube
    marked = torch.zeros(cells, cells, cells, dtype=torch.uint8, device=vertices.device)
    surface = as_vec3(vertices), as_vec3(normals), points.corners, as_vec3(points.barycentric), reach
    place = rotation.contiguous(), translation.contiguous(), low, extent.view(1)
    launch(_mark_shell, len(reach), [*surface, *place, cells, marked], vertices.device)
    return dilate(marked).view(-1)
