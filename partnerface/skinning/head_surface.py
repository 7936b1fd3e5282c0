"""Which faces of a head model belong to the volumetric head, and where hair and skin can reach."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.skinning.nearest_surface import NearestSurface

TORSO_WEIGHT = 0.3
"""Faces that follow the root more than this belong to the torso layer: the base of the neck with them,
so that a collar stays with the shirt when the head nods."""


def head_surface(head_model: HeadModel) -> Tensor:
    """``[Fc]`` bool: every face but the torso's and the lashes (two-sided cards that lie on the lids)."""
    root = head_model.skinning_weights[:, head_model.joint("root")]
    torso = root[head_model.faces].mean(1) > TORSO_WEIGHT
    return ~torso & ~head_model.part_faces("lashes")


def points_in_shell(
    points: Tensor, head: PosedHead, poses: tuple[Tensor, Tensor], faces: Tensor, thickness: Tensor
) -> Tensor:
    """``[N]`` bool: points of the rigid head frame that lie in the shell of any of F posed heads.

    Args:
        points: ``[N, 3]`` in the rigid head frame, metres.
        head: F posed heads.
        poses: their rigid rotations ``[F, 3, 3]`` and translations ``[F, 3]``.
        faces: ``[Fc, 3]`` faces of the surface.
        thickness: ``[V]`` thickness of the shell around it in metres.
    """
    skinning = NearestSurface()
    skinning.set_surface(faces, thickness)
    inside = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    surface = skinning.posed_surface(head)
    for number, (rotation, translation) in enumerate(zip(*poses, strict=True)):
        world = points[~inside] @ rotation.T + translation
        frame = torch.full((len(world),), number, dtype=torch.int32, device=points.device)
        inside[~inside] = skinning(world, frame, surface).valid
    return inside
