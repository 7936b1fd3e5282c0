"""The backstop of bodies whose thickness is known, and of the head."""

from dataclasses import dataclass

import pytest
import torch
from plain_ray_casting import box

from partnerface.rendering.mesh_rasterizer import vertex_normals
from partnerface.rendering.opaque_backstop import backstop_surface
from partnerface.skinning.head_surface import head_surface

EROSION, THINNEST = 0.006, 0.02


@dataclass
class Body:
    """What `backstop_surface` asks of a head model: faces, which are skin, and what turns with the head."""

    faces: torch.Tensor
    solid: torch.Tensor
    weights: torch.Tensor

    def head_weights(self) -> torch.Tensor:
        return self.weights

    def part_faces(self, *names: str) -> torch.Tensor:
        return ~self.solid if "skin" in names else self.solid


def body(
    size: tuple[float, float, float], segments=(4, 4, 4), open_bottom=False
) -> tuple[Body, torch.Tensor]:
    vertices, faces = (torch.from_numpy(a) for a in box(size, segments, open_bottom))
    return Body(faces, torch.zeros(len(faces), dtype=torch.bool), torch.ones(len(vertices))), vertices


def everywhere(model: Body) -> torch.Tensor:
    return torch.ones(len(model.faces), dtype=torch.bool)


@pytest.mark.parametrize("open_bottom", [False, True])
def test_a_thick_box_is_eroded_on_all_sides(open_bottom):
    """An open bottom (the neck of a head without its torso) makes no skin thin and none uneroded."""
    model, vertices = body((0.1, 0.12, 0.14), open_bottom=open_bottom)
    faces, depth = backstop_surface(model, vertices, everywhere(model), EROSION, THINNEST)
    assert torch.equal(faces, model.faces)
    torch.testing.assert_close(depth, torch.full((len(vertices),), EROSION))
    eroded = vertices - depth[:, None] * vertex_normals(vertices, model.faces)
    half = torch.tensor([0.05, 0.06, 0.07])
    assert (eroded.abs() <= half + 1e-6).all()
    assert ((half - eroded.abs()).amin(1) < EROSION + 1e-6).all()


def test_a_thin_plate_has_no_backstop():
    model, vertices = body((0.1, 0.1, 0.01), (5, 5, 1))
    faces, _ = backstop_surface(model, vertices, everywhere(model), EROSION, THINNEST)
    assert not len(faces)


def test_erosion_never_passes_the_other_side():
    """Skin just thick enough: three tenths of its thickness, so that both sides keep apart."""
    model, vertices = body((0.1, 0.1, 0.015), (5, 5, 1))
    faces, depth = backstop_surface(model, vertices, everywhere(model), erosion=0.01, thinnest=0.014)
    assert len(faces)
    flat = (vertices[:, :2].abs() < 0.035).all(1)
    torch.testing.assert_close(depth[flat], torch.full((int(flat.sum()),), 0.3 * 0.0149), atol=1e-5, rtol=0)


def test_solid_parts_stay_where_they_are():
    model, vertices = body((0.1, 0.1, 0.01), (5, 5, 1))
    model.solid[:7] = True
    faces, depth = backstop_surface(model, vertices, everywhere(model), EROSION, THINNEST)
    assert torch.equal(faces, model.faces[:7])
    assert not depth[model.faces[:7]].any()


def test_faces_outside_of_the_surface_are_left_out():
    model, vertices = body((0.1, 0.1, 0.1))
    surface = everywhere(model)
    surface[:20] = False
    faces, _ = backstop_surface(model, vertices, surface, EROSION, THINNEST)
    assert torch.equal(faces, model.faces[20:])


def test_the_neck_has_no_backstop():
    model, vertices = body((0.1, 0.1, 0.1))
    model.weights = (vertices[:, 1] > -0.01).float()
    faces, _ = backstop_surface(model, vertices, everywhere(model), EROSION, THINNEST)
    above = (vertices[model.faces][..., 1] > -0.01).all(1)
    assert 0 < above.sum() < len(above)
    assert torch.equal(faces, model.faces[above])


def test_the_head_is_closed_at_eyes_and_mouth_and_mostly_free_at_the_ears(anny):
    canonical = anny(anny.neutral_parameters()).canonical_vertices
    surface = head_surface(anny)
    faces, depth = backstop_surface(anny, canonical, surface, EROSION, THINNEST)
    kept = {tuple(face) for face in faces.tolist()}
    parts = anny.part_faces("eye_left", "eye_right", "mouth_cavity", "teeth_upper", "teeth_lower", "tongue")
    assert all(tuple(face) in kept for face in anny.faces[parts].tolist())
    assert not depth[anny.faces[parts]].any()
    skin = anny.faces[surface & anny.part_faces("skin")]
    centres = canonical[skin].mean(1)
    scalp = skin[centres[:, 1] > canonical[:, 1].max() - 0.05]
    assert all(tuple(face) in kept for face in scalp.tolist())
    above_neck = centres[:, 1] > 0.02
    widest = centres[above_neck, 0].abs().amax()
    ears = skin[above_neck & (centres[:, 0].abs() > widest - 0.004)]
    assert len(ears) > 5
    # Rims whose normals run along the ear pass for thick; most of the ear does not.
    assert sum(tuple(face) in kept for face in ears.tolist()) < 0.25 * len(ears)
