"""The dressed surface: sleeves out of the picture, hair where it grows, cloth above the skin, shell."""

from collections import Counter

import pytest
import torch

from partnerface.data.synthetic.dressed_head import (
    CLOTH_THICKNESS,
    STRIPE_PERIOD,
    DressedHead,
    hair_coverage,
    hair_thickness,
    shirt_albedo,
    shirt_coverage,
    shirt_thickness,
)
from partnerface.data.synthetic.face_coordinates import face_coordinates
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.head_models.anny import AnnyHead
from partnerface.meshes.normals import vertex_normals


@pytest.fixture(scope="module")
def model():
    return AnnyHead()


def open_edges(faces):
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    uses = Counter(frozenset(edge) for edge in directed.tolist())
    return torch.tensor([sorted(edge) for edge, count in uses.items() if count == 1])


@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_no_edge_of_the_bust_is_in_the_picture(model, name):
    """The only open edges below the neck are the hems of the sleeves, out of the image in every frame."""
    renderer = SubjectRenderer(model, SUBJECTS[name], frames=24, size=16, seed=0)
    dressed = renderer.dressed
    hems = open_edges(dressed.faces)
    hems = hems[(dressed.face_points[hems, 1] < -0.10).all(1)]
    assert len(hems) > 20
    for frame in range(24):
        vertices = dressed.vertices(renderer.head.select([frame]), renderer.sway[frame])
        pixels, _ = renderer.camera.select([frame]).project(vertices[None])
        x, y = pixels[0, hems.unique()].unbind(1)
        assert ((x < 0) | (x > 16) | (y > 16)).all()


def test_sleeve_faces_continue_the_winding_of_the_skin(model):
    dressed = DressedHead(model, SUBJECTS["a"])
    directed = Counter()
    skin = torch.cat([model.faces[model.part_faces("skin")], dressed.faces[len(model.faces) :]])
    for a, b, c in skin.tolist():
        directed.update([(a, b), (b, c), (c, a)])
    assert max(directed.values()) == 1


@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_growth_is_outward_and_inside_the_shell(model, name):
    renderer = SubjectRenderer(model, SUBJECTS[name], frames=4, size=16, seed=0)
    identity = SUBJECTS[name].identity(model.num_identity)
    neutral = model.identity_vertices(identity)
    parameters = model.neutral_parameters(1)
    parameters.identity = identity
    worn = renderer.dressed.vertices(parameters, torch.zeros(3))[: len(neutral)] - neutral
    points = face_coordinates(model)
    skin = model.faces[model.part_faces("skin")].unique()
    normals = vertex_normals(neutral, model.faces)
    outward = (worn * normals).sum(1)[skin]
    assert outward.min() > -1e-5
    scalp = outward[points[skin, 1] > 0.09]
    assert scalp.min() > 0.8 * SUBJECTS[name].hair_style.volume
    face = (points[skin, 2] > 0.0) & (points[skin, 1].abs() < 0.03) & (points[skin, 0].abs() < 0.05)
    assert outward[face].max() < 1e-4
    assert (renderer.shell_thickness([0, 1, 2, 3]) > worn.norm(dim=1)).all()
    assert renderer.shell_thickness([0, 1, 2, 3]).max() < 0.04


PLACES = {
    "crown": (0.0, 0.117, -0.06, True),
    "back": (0.0, 0.03, -0.20, True),
    "temple": (0.068, 0.035, -0.045, True),
    "forehead": (0.0, 0.030, 0.026, False),
    "cheek": (0.050, -0.040, 0.0, False),
    "chin": (0.0, -0.118, 0.004, False),
    "ear": (0.080, -0.012, -0.085, False),
    "throat": (0.0, -0.15, -0.04, False),
}


@pytest.mark.parametrize("style", [s.hair_style for s in SUBJECTS.values()])
@pytest.mark.parametrize("place", PLACES)
def test_places(style, place):
    *point, hairy = PLACES[place]
    for side in (1.0, -1.0):
        points = torch.tensor([[side * point[0], point[1], point[2]]])
        assert float(hair_coverage(points, style)) == float(hairy)
        if not hairy:
            assert float(hair_thickness(points, style)) == 0


def test_thickness_is_bounded_by_the_style():
    style = SUBJECTS["b"].hair_style
    points = (torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.3
    thickness = hair_thickness(points, style)
    assert thickness.min() >= 0
    assert thickness.max() <= style.volume + style.lumpiness


def test_covers_the_bust_and_not_the_head():
    bust = torch.tensor([[0.0, -0.30, 0.0], [0.18, -0.24, -0.10], [-0.18, -0.24, -0.10]])
    head = torch.tensor([[0.0, 0.0, 0.0], [0.0, -0.118, 0.0], [0.06, -0.05, -0.1]])
    assert shirt_coverage(bust).tolist() == [1, 1, 1]
    assert shirt_coverage(head).tolist() == [0, 0, 0]
    assert shirt_thickness(head).max() == 0
    assert (shirt_thickness(bust) - CLOTH_THICKNESS).abs().max() <= 0.0015 + 1e-9


def test_stripes_repeat():
    y = torch.arange(2000) * (-0.4 / 2000)
    column = torch.stack([torch.zeros_like(y), y, torch.zeros_like(y)], 1)
    bright = shirt_albedo(column, SUBJECTS["a"])[:, 0] > 0.45
    starts = (bright[1:] & ~bright[:-1]).nonzero()[:, 0]
    spacing = (y[starts[:-1]] - y[starts[1:]]).mean()
    assert float(spacing) == pytest.approx(STRIPE_PERIOD, rel=0.03)
