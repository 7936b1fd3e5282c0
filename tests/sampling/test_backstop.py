"""The backstop of bodies whose thickness is known, and of the head."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional

from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_parts import head_parts, surface_vertices
from partnerface.meshes.bvh import cast_rays
from partnerface.meshes.normals import vertex_normals
from partnerface.sampling.skin_surfaces import backstop_surface
from partnerface.skinning.head_surface import head_surface
from tests.head_models.flame_files import embedded, flame_head_arrays
from tests.meshes.plain_ray_casting import box

EROSION, THINNEST = 0.006, 0.02


@dataclass
class Body:
    """What `backstop_surface` asks of a head model: faces, which are skin, and what turns with the head."""

    faces: torch.Tensor
    solid: torch.Tensor
    weights: torch.Tensor

    def head_weights(self) -> torch.Tensor:
        return self.weights

    def joint(self, name: str) -> int:
        return ("root", "neck", "head").index(name)

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


@pytest.mark.parametrize(("gap", "covered"), [(0.012, True), (0.008, False)])
def test_a_cheek_over_the_mouth_is_covered_and_a_lip_is_not(gap, covered):
    """Skin around a solid block: half the thickness is enough."""
    outer, faces = (torch.from_numpy(a) for a in box((0.1, 0.1, 0.1), (5, 5, 5), False))
    size = 0.1 - 2 * gap
    inner, solid = (torch.from_numpy(a) for a in box((size, size, size), (5, 5, 5), False))
    is_solid = torch.arange(len(faces) + len(solid)) >= len(faces)
    model = Body(torch.cat([faces, solid + len(outer)]), is_solid, torch.ones(len(outer) + len(inner)))
    vertices = torch.cat([outer, inner])
    kept, _ = backstop_surface(model, vertices, everywhere(model), EROSION, THINNEST)
    middle = (outer[:, :2].abs() < 0.025).all(1).nonzero().flatten()
    assert torch.isin(middle, kept).all() == covered
    assert torch.isin(solid + len(outer), kept).all()


@pytest.mark.parametrize(
    "view", [(0.0, 0, -1), (0.5, 0, -1), (-0.5, 0, -1), (1, 0, -0.5), (-1, 0, -0.5), (0.3, -0.8, -1)]
)
def test_no_ray_passes_through_cheek_and_chin(anny, view):
    """What meets them from ahead, from the side or from above ends inside the head, on no far wall."""
    vertices = anny(anny.neutral_parameters()).canonical_vertices
    surface = head_surface(anny)
    faces, depth = backstop_surface(anny, vertices, surface, EROSION, THINNEST)
    normals = vertex_normals(vertices, anny.faces[surface])
    eroded = vertices - depth[:, None] * normals
    parts = head_parts(anny).weights
    elsewhere = torch.stack([parts[name] for name in ("mouth", "nose", "ears", "eyes", "neck")]).amax(0)
    chosen = (parts["cheeks"].maximum(parts["jaw"]) > 0.5) & (elsewhere < 0.1)
    direction = functional.normalize(torch.tensor(view), dim=0)
    facing = functional.normalize(normals, dim=1) @ direction < -0.7
    seen = vertices[chosen & facing & surface_vertices(anny, "skin")]
    assert len(seen) >= 5
    distance = cast_rays(eroded, faces, seen - 0.3 * direction, direction.expand_as(seen).contiguous())
    assert ((distance > 0.3) & (distance < 0.34)).all()


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


def test_the_neck_of_a_head_whose_one_joint_turns_both_has_no_backstop(anny, tmp_path):
    """As FLAME's: no skinning weight says where the neck begins, but the shape does."""
    arrays = flame_head_arrays(anny)
    root, neck = (arrays["weights"][:, k] for k in (0, 1))
    turned = root < 0.95
    neck[turned] += root[turned]
    root[turned] = 0
    np.savez(tmp_path / "flame.npz", **arrays)
    model = embedded(FlameHead(tmp_path / "flame.npz", 20, 10), anny)
    faces, _ = backstop_surface(model, model.template_vertices, head_surface(model), EROSION, THINNEST)
    neck = head_parts(model).weights["neck"]
    assert (neck > 0.8).sum() > 100
    assert float(neck[faces].amin(1).max()) < 0.75


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
