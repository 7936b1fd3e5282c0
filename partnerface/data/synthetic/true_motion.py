"""The fine motion of an embedded subject as a record, and its regions."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.data.sequence import TrueMotion
from partnerface.data.synthetic.dressed_head import DressedHead
from partnerface.data.synthetic.render_subject import SubjectRenderer

FACE_DEPTH, FACE_HEIGHTS = -0.055, (-0.125, 0.075)
"""Face coordinates in metres: the face lies before this depth and between these heights."""
LEAST_MOTION = 0.15e-3
"""Metres RMS around the mean of the training frames from which skin has fine motion."""
HAIR_SWAY, SKIN_SWAY = 0.5, 0.05
"""Shares of the hair's sway above which a point is hair, and below which it is skin."""
NEGLIGIBLE = 1e-6
"""Share of the largest singular value below which a shape is rounding."""


@torch.no_grad()
def true_motion(renderer: SubjectRenderer) -> TrueMotion:
    """The fine motion of all frames of a subject's clip, on the vertices of its head model."""
    dressed, frames = renderer.dressed, range(len(renderer.sway))
    offsets = torch.stack([renderer.fine_motion(frame) for frame in frames])
    points = renderer.head_model(renderer.head.select([0])).canonical_vertices + dressed.growth
    regions = motion_regions(dressed, offsets[renderer.performance.splits["train"]])
    return TrueMotion(points, renderer.head_model.faces, *shapes_and_weights(offsets), regions)


def shapes_and_weights(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes ``[K, V, 3]`` and weights ``[T, K]`` of which offsets ``[T, V, 3]`` are made (their SVD)."""
    left, size, right = torch.linalg.svd(offsets.flatten(1), full_matrices=False)
    kept = size > NEGLIGIBLE * size[0].clamp_min(1e-30)
    return right[kept].view(-1, *offsets.shape[1:]), (left * size)[:, kept]


def motion_regions(dressed: DressedHead, offsets: Tensor) -> dict[str, Tensor]:
    """``[V]`` bool by region, see `TrueMotion`, from the offsets ``[F, V, 3]`` of the training frames."""
    model = dressed.head_model
    _, y, z = dressed.face_points[: offsets.shape[1]].unbind(1)
    face = torch.zeros(len(y), dtype=torch.bool)
    face[model.faces[model.part_faces("skin")]] = True
    face &= (z > FACE_DEPTH) & (y > FACE_HEIGHTS[0]) & (y < FACE_HEIGHTS[1])
    face &= dressed.sway_weights < SKIN_SWAY
    moves = (offsets - offsets.mean(0)).square().sum(2).mean(0).sqrt() > LEAST_MOTION
    return {"fine_face": face & moves, "hair": dressed.sway_weights > HAIR_SWAY, "quiet_face": face & ~moves}
