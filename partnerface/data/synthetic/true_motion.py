"""The fine motion of an embedded subject as a record, and its regions."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.data.sequence import TrueMotion
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
    """The fine motion of all frames of a subject's clip, on the surface that its pictures show.

    That is the head model's mesh, or for a face that folds the refined one, whose folds are finer than the
    head model's vertices.
    """
    dressed, model = renderer.dressed, renderer.head_model
    points = model(renderer.head.select([0])).canonical_vertices + dressed.growth
    skin = torch.zeros(len(points))
    skin[model.faces[model.part_faces("skin")]] = 1
    places, sway, faces = dressed.face_points[: len(points)], dressed.sway_weights, model.faces
    if dressed.refined is None:
        frames = range(len(renderer.sway))
        shapes, weights = shapes_and_weights(torch.stack([renderer.fine_motion(frame) for frame in frames]))
    else:
        refined, sleeves = dressed.refined, len(dressed.face_points) - len(points)
        points, places, sway, skin = (
            refined.of(torch.cat([values, values.new_zeros(sleeves, *values.shape[1:])]))
            for values in (points, places, sway, skin)
        )
        # The children of a face follow each other, and those of the sleeves come last.
        faces = refined.faces[: len(faces) * len(refined.children)]
        swaying = torch.einsum("v,kc->kvc", sway, torch.eye(3))
        shapes = torch.cat([dressed.refined_folds.shapes(), swaying])
        weights = torch.cat([dressed.refined_folds.heights(renderer.head.expression), renderer.sway], 1)
    deviation = rms_motion(shapes, weights[renderer.performance.splits["train"]])
    return TrueMotion(points, faces, shapes, weights, motion_regions(places, skin > 0.99, sway, deviation))


def shapes_and_weights(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes ``[K, V, 3]`` and weights ``[T, K]`` of which offsets ``[T, V, 3]`` are made (their SVD)."""
    left, size, right = torch.linalg.svd(offsets.flatten(1), full_matrices=False)
    kept = size > NEGLIGIBLE * size[0].clamp_min(1e-30)
    return right[kept].view(-1, *offsets.shape[1:]), (left * size)[:, kept]


def rms_motion(shapes: Tensor, weights: Tensor) -> Tensor:
    """``[V]`` RMS deviation from their mean of motions of shapes ``[K, V, 3]`` and weights ``[F, K]``."""
    centred = weights - weights.mean(0)
    covariance = centred.T @ centred / len(weights)
    return torch.einsum("kvc,kl,lvc->v", shapes, covariance, shapes).clamp_min(0).sqrt()


def motion_regions(points: Tensor, skin: Tensor, sway: Tensor, motion: Tensor) -> dict[str, Tensor]:
    """``[V]`` bool by region, see `TrueMotion`.

    Args:
        points: ``[V, 3]`` face coordinates.
        skin: ``[V]`` bool.
        sway: ``[V]`` share of the hair's sway.
        motion: ``[V]`` metres RMS over the training frames.
    """
    _, y, z = points.unbind(1)
    face = skin & (z > FACE_DEPTH) & (y > FACE_HEIGHTS[0]) & (y < FACE_HEIGHTS[1]) & (sway < SKIN_SWAY)
    moves = motion > LEAST_MOTION
    return {"fine_face": face & moves, "hair": sway > HAIR_SWAY, "quiet_face": face & ~moves}
