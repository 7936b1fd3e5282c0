"""Landmarks for a head model without an embedding, such as FLAME: those of the default head, laid upon it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import LandmarkGeometry, landmark_geometry, vertex_points

LEAST_SCALE, LARGEST_SCALE = 0.7, 1.4
"""Heads of adults differ by less; beyond lie head models whose eye joints are no eyes."""
NOSE_SHARE = 0.3
"""Share of the height, around its middle, in which the nose tip is looked for."""


def face_landmarks(head_model: HeadModel) -> LandmarkGeometry:
    """The landmarks of a head model's embedding, or approximate ones if it has none.

    The default head's landmarks are scaled and shifted until the eyes agree, or the nose tip where the head
    model has no eyes, and each is given to the nearest vertex of the skin. That is good to about a
    centimetre: enough to label face, eyes and mouth, not to fit a head.
    """
    if len(head_model.asset.landmark_faces):
        return landmark_geometry(head_model)
    default, known = _default()
    own, theirs = _anchors(head_model), _anchors(default)
    if own is None or theirs is None:
        own, theirs = _nose_tip(head_model)[None], _nose_tip(default)[None]
    scale = 1.0
    if len(own) == 2:
        ratio = float((own[0] - own[1]).norm() / (theirs[0] - theirs[1]).norm())
        scale = min(max(ratio, LEAST_SCALE), LARGEST_SCALE)
    places = (known.points.template - theirs.mean(0)) * scale + own.mean(0)
    skin = head_model.faces[head_model.part_faces("skin")].unique()
    nearest = skin[torch.cdist(places, head_model.template_vertices[skin]).argmin(1)]
    return LandmarkGeometry(np.asarray(known.numbers), vertex_points(head_model, nearest), known.weights)


@cache
def _default() -> tuple[HeadModel, LandmarkGeometry]:
    """The default head and its landmarks, loaded once."""
    head_model = AnnyHead()
    return head_model, landmark_geometry(head_model)


def _anchors(head_model: HeadModel) -> Tensor | None:
    """``[2, 3]`` the eye joints; None where no vertex turns with them."""
    eyes = [head_model.joint("eye_left"), head_model.joint("eye_right")]
    turned = head_model.skinning_weights[:, eyes].amax(0) > 0.5
    return head_model.template_joints[eyes] if bool(turned.all()) else None


def _nose_tip(head_model: HeadModel) -> Tensor:
    """``[3]`` the vertex farthest in front, of those at the height of a nose."""
    vertices = head_model.template_vertices
    low, high = vertices[:, 1].amin(), vertices[:, 1].amax()
    beside = ((vertices[:, 1] - (low + high) / 2).abs() > NOSE_SHARE * (high - low)) | ~vertices[
        :, 2
    ].isfinite()
    return vertices[vertices[:, 2].masked_fill(beside, -torch.inf).argmax()]
