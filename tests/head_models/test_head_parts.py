"""Head parts and the default shell on the shipped head."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import (
    PART_NAMES,
    head_parts,
    landmark_points,
    surface_vertices,
)
from partnerface.head_models.ict_facekit import IctFaceKitHead
from tests.head_models.flame_files import embedded, flame_head_arrays


@pytest.fixture(scope="module")
def anny_head():
    return AnnyHead()


@pytest.fixture(scope="module")
def heads(anny_head, tmp_path_factory):
    """Anny, the same with unnamed expressions, ICT-FaceKit, and a file of FLAME's form."""
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame_head_arrays(anny_head))
    flame = embedded(FlameHead(path, 20, 10), anny_head)
    return {"named": anny_head, "unnamed": unnamed(anny_head), "ict": IctFaceKitHead(), "flame": flame}


def unnamed(model):
    """The same head as a file with unnamed expressions, as FLAME has."""
    names = [f"expression_{i}" for i in range(model.num_expression)]
    return HeadModel(dataclasses.replace(model.asset, expression_names=names))


@pytest.mark.parametrize("name", ["named", "unnamed", "ict", "flame"])
@pytest.mark.parametrize(
    ("part", "inside", "outside"),
    [
        ("eyes", [159, 145, 386, 374, 133, 362], [13, 14, 152, 10, 4]),
        ("mouth", [13, 14, 61, 291, 0, 17], [159, 386, 10, 168, 127]),
        ("brows", [105, 334, 66, 296], [13, 152, 4, 145]),
        ("nose", [4, 1, 195], [152, 13 + 1, 10, 127]),
        ("cheeks", [50, 280, 205, 425], [10, 168, 152, 14]),
        ("jaw", [152, 17, 200], [10, 168, 159, 4]),
        ("scalp", [], [168, 4, 13, 152, 159, 50]),
        ("neck", [], [168, 4, 13, 159, 50, 10]),
        ("torso", [], [168, 4, 13, 152, 10]),
    ],
)
def test_parts_lie_at_their_landmarks(heads, name, part, inside, outside):
    model = heads[name]
    weight = head_parts(model).weights[part]
    corners = model.faces[torch.tensor(model.asset.landmark_faces).long()]
    at = weight[corners].mean(1)
    found = model.asset.landmark_spread <= 3
    assert sum(found[outside]) >= 2
    assert (at[[k for k in inside if found[k]]] > 0.8).all()
    assert (at[[k for k in outside if found[k]]] < 0.1).all()


def test_weights_are_soft_and_symmetric(anny_head):
    parts = head_parts(anny_head)
    assert tuple(parts.weights) == PART_NAMES
    vertices = anny_head.template_vertices
    mirror = torch.cdist(vertices, vertices * torch.tensor([-1.0, 1, 1])).argmin(1)
    for name, weight in parts.weights.items():
        assert weight.min() >= 0, name
        assert weight.max() > 0.95, name
        assert weight.max() <= 1 + 1e-5, name
        assert ((weight > 0.05) & (weight < 0.95)).any(), name
        assert (weight - weight[mirror]).abs().mean() < 0.05, name
        assert abs(parts.centre(name, vertices)[0]) < 8e-3, name


def test_surfaces_belong_whole(anny_head):
    weights = head_parts(anny_head).weights
    assert (weights["eyes"][surface_vertices(anny_head, "eye_left", "eye_right", "lashes")] == 1).all()
    assert (weights["mouth"][surface_vertices(anny_head, "tongue", "mouth_cavity", "teeth_upper")] == 1).all()
    ears = anny_head.template_vertices[weights["ears"] > 0.9]
    assert ears[:, 0].abs().min() > 0.06


def test_landmark_points_are_on_the_face(anny_head):
    points = landmark_points(anny_head, anny_head.template_vertices)
    assert points[152, 1] < points[13, 1] < points[4, 1] < points[10, 1]
    for corners, eye in (((33, 133), "eye_right"), ((362, 263), "eye_left")):
        joint = anny_head.template_joints[anny_head.joint(eye)]
        assert (points[list(corners)] - joint).norm(dim=1).max() < 0.03
