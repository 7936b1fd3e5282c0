"""The opaque backstop: a surface inside the head that no ray passes.

Behind the learned density lies a mesh that is certainly inside the person: the skin eroded by a few
millimetres where the head is thick, the eyeballs, the mouth cavity with teeth and tongue. It closes
holes at eyes and lips, which cost more than any network choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.bvh import cast_rays
from partnerface.meshes.normals import vertex_normals

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
