"""The dressed surface: sleeves out of the picture, hair and cloth above the skin, shell around it."""

from collections import Counter

import pytest
import torch

from partnerface.data.synthetic.dressed_head import DressedHead
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
