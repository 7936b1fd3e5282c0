"""Baked textures against the same appearance evaluated directly, away from seams."""

import pytest
import torch

from partnerface.data.synthetic.albedo import eye_albedo
from partnerface.data.synthetic.appearance_textures import AppearanceTextures
from partnerface.data.synthetic.dressed_head import hair_coverage, shirt_coverage
from partnerface.data.synthetic.face_coordinates import face_coordinates
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.head_models.anny import AnnyHead


@pytest.fixture(scope="module")
def baked():
    model = AnnyHead()
    return model, AppearanceTextures(model, SUBJECTS["b"], 512)


def sample_part(model, textures, name):
    faces = model.part_faces(name).nonzero()[:, 0]
    barycentric = torch.full((len(faces), 3), 1 / 3)
    points = face_coordinates(model)[model.faces[faces]].mean(1)
    return points, textures.sample(faces, barycentric)


def test_skin_coverages_agree_with_direct_evaluation(baked):
    model, textures = baked
    points, texture = sample_part(model, textures, "skin")
    for name, direct in (
        ("hair", hair_coverage(points, SUBJECTS["b"].hair_style)),
        ("shirt", shirt_coverage(points)),
    ):
        error = (texture[name][:, 0] - direct).abs()
        assert error.mean() < 0.02
        assert ((direct > 0.99) | (direct < 0.01)).float().mean() > 0.7
        assert error[(direct > 0.99) | (direct < 0.01)].quantile(0.98) < 0.1


@pytest.mark.parametrize("side", ["eye_left", "eye_right"])
def test_eyes_agree_with_direct_evaluation(baked, side):
    model, textures = baked
    points, texture = sample_part(model, textures, side)
    eyes = model.template_joints[[model.joint("eye_left"), model.joint("eye_right")]]
    direct = eye_albedo(points + eyes.mean(0) - model.template_joints[model.joint(side)], SUBJECTS["b"])
    assert (texture["albedo"] - direct).abs().mean(1).median() < 0.03
    assert texture["eye_region"].min() > 0.9


def test_lips_are_red_and_only_at_the_mouth(baked):
    model, textures = baked
    points, texture = sample_part(model, textures, "skin")
    lips = texture["lips"][:, 0] > 0.5
    assert lips.sum() > 20
    assert (points[lips, 0].abs() < 0.035).all()
    assert (points[lips, 1] < -0.05).all()
    assert (points[lips, 1] > -0.10).all()
    red = texture["albedo"][lips].mean(0)
    assert red[0] > 1.8 * red[1]
