"""Folds of a face: nothing at neutral, amplitudes against closed forms, locality, coupling, refinement."""

import math

import pytest
import torch

from partnerface.data.synthetic.dressed_head import DressedHead
from partnerface.data.synthetic.face_coordinates import face_coordinates
from partnerface.data.synthetic.fine_face import FOLDS, NEIGHBOURS, FineFace, Fold, activations
from partnerface.data.synthetic.refined_surface import RefinedSurface
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.meshes.rasterizer import rasterize_mesh

FLAT = torch.tensor([[0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def dressed(anny):
    return DressedHead(anny, SUBJECTS["c"])


def expression(model, **coefficients):
    values = torch.zeros(model.num_expression)
    for name, value in coefficients.items():
        found = [
            i
            for i, n in enumerate(model.asset.expression_names)
            if n in (name, f"{name}Left", f"{name}Right")
        ]
        values[found] = value
    return values


@pytest.mark.parametrize("coupling", [0.0, 1.0])
def test_vanishes_at_neutral(anny, coupling):
    points = face_coordinates(anny)
    face = FineFace(anny, points, FLAT.expand_as(points), coupling)
    neutral = torch.zeros(anny.num_expression)
    assert face.offsets(neutral).abs().max() == 0
    assert (face.light(neutral) == 1).all()


def test_amplitudes_against_closed_forms(anny):
    """At the middle of the apple of the cheek, of the crease in the chin, and of a line on the forehead."""
    places = torch.tensor([[0.038, -0.037, 0.0], [0.0, -0.096, 0.0]])
    face = FineFace(anny, places, FLAT.expand(2, 3))
    smile = face.offsets(expression(anny, mouthSmile=0.8, jawOpen=0.4))
    apple = 2.5e-3 * (0.8 - 0.12) / 0.88 * 1.2
    # The flanks of the nasolabial fold reach there; those of other folds are below the tolerance.
    fold = next(f for f in FOLDS if f.driver == "fold" and f.height > 0)
    bell, _ = fold.envelope(places[:1], 1)
    crease = next(f for f in FOLDS if f.driver == "fold" and f.height < 0)
    groove, _ = crease.envelope(places[:1], 1)
    added = 1e-3 * 0.8**2 * (fold.height * float(bell) + crease.height * float(groove))
    assert float(smile[0, 2]) == pytest.approx(apple + added, rel=2e-3)
    chin = face.offsets(expression(anny, mouthPress=0.7))
    assert float(chin[1, 2]) == pytest.approx(-2.6e-3 * 0.8 * 0.7**2, rel=1e-4)


def test_a_bell_and_its_creases_against_their_formula():
    fold = Fold("r", "d", 1.0, (0.02, 0.03), (0.010, 0.004), math.pi / 2, paired=False)
    points = torch.tensor([[0.02, 0.03, 0.0], [0.02, 0.04, 0.0], [0.024, 0.03, 0.0], [0.02, 0.03, -0.06]])
    bell, height = fold.envelope(points, 1)
    # The first axis, a centimetre wide, points up.
    torch.testing.assert_close(bell, torch.tensor([1.0, math.exp(-0.5), math.exp(-0.5), 0.0]))
    assert torch.equal(bell, height)
    lined = Fold("r", "d", 1.0, (0.0, 0.0), (0.02, 0.02), period=0.008, paired=False)
    column = torch.zeros(4001, 3)
    column[:, 1] = torch.linspace(-0.01, 0.01, 4001)
    bell, height = lined.envelope(column, 1)
    share = height / bell
    peaks = (share[1:-1] > share[:-2]) & (share[1:-1] >= share[2:])
    spacing = column[1:-1][peaks, 1].diff()
    # Noise bends the lines by less than a sixth of a period.
    assert ((spacing - 0.008).abs() < 0.008 / 3).all()
    assert share.max() == pytest.approx(1.0, abs=1e-3)
    assert share.median() < 0.25


def test_folds_of_a_side_follow_its_actions_and_end(anny):
    points = face_coordinates(anny)
    face = FineFace(anny, points, FLAT.expand_as(points))
    values = torch.zeros(anny.num_expression)
    values[anny.expression_index("mouthSmileLeft")] = 1.0
    moved = face.offsets(values).norm(dim=1)
    assert moved[points[:, 0] > 0.02].max() > 2e-3
    assert moved[points[:, 0] < -0.003].max() == 0
    assert moved[(points[:, 1] > 0.05) | (points[:, 2] < -0.055)].max() == 0


def test_no_linear_basis_of_the_coefficients_spans_it(anny):
    """Doubling an action or adding another is no doubling or adding of the motion, in any region."""
    generator = torch.Generator().manual_seed(0)
    some = 0.5 * torch.rand(64, anny.num_expression, generator=generator)
    points = face_coordinates(anny)
    face = FineFace(anny, points, FLAT.expand_as(points))
    once, twice = face.heights(some), face.heights(2 * some)
    apart = (twice - 2 * once).abs().mean(0) / twice.abs().mean(0)
    assert apart.min() > 0.05
    assert set(face.regions) == set(NEIGHBOURS)
    assert all(
        near != region and near in NEIGHBOURS for region, all_near in NEIGHBOURS.items() for near in all_near
    )


def test_every_fold_has_a_driver_and_every_driver_a_fold():
    drivers = activations(lambda name: torch.tensor(0.5))
    assert {fold.driver for fold in FOLDS} == set(drivers)


def test_coupling_makes_a_region_follow_its_neighbours(anny):
    points = face_coordinates(anny)
    normals = FLAT.expand_as(points)
    apart, coupled = (FineFace(anny, points, normals, c) for c in (0.0, 1.0))
    raised = expression(anny, browInnerUp=1.0, browOuterUp=1.0)
    chin = apart.regions["chin"]
    assert apart.offsets(raised)[chin].abs().max() == 0
    assert coupled.offsets(raised)[chin].norm(dim=1).max() > 1e-4


@pytest.mark.parametrize("name", ["smile", "frown"])
def test_is_between_half_a_millimetre_and_three_in_full_expressions(anny, dressed, name):
    actions = {
        "smile": {"mouthSmile": 1.0, "cheekSquint": 0.6, "eyeSquint": 0.5},
        "frown": {"browDown": 1.0, "mouthPress": 0.7, "noseSneer": 0.4},
    }[name]
    moved = 1e3 * dressed.face_offsets(expression(anny, **actions)).norm(dim=1)
    assert 0.5 < moved.max() < 4.0


def test_the_refined_surface_passes_through_the_coarse_one(anny, dressed):
    """Children tile their face in its order, shared edges have one midpoint, values are interpolated."""
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    vertices = torch.tensor([[0.5, 0.5], [8.5, 0.5], [0.5, 8.5], [8.5, 8.5]])
    refined = RefinedSurface(faces, 4, 2)
    fine = refined.of(vertices)
    assert torch.equal(fine[:4], vertices)
    assert len(fine) == 25
    assert len({tuple(point) for point in fine.tolist()}) == 25
    corners = torch.einsum("jlc,fcd->fjld", refined.children, vertices[faces]).flatten(0, 1)
    torch.testing.assert_close(fine[refined.faces], corners)
    edges = fine[refined.faces][:, 1:] - fine[refined.faces][:, :1]
    area = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2
    torch.testing.assert_close(area, torch.full((32,), 2.0))
    depth = torch.tensor([[1.0], [2.0], [1.5], [3.0]])
    # No edge passes through the centre of a pixel, where rounding decides.
    space = torch.cat([(vertices * 1.03 + torch.tensor([-0.113, 0.071])) * depth, depth], 1)

    def seen(space, faces):
        return rasterize_mesh(space[:, :2] / space[:, 2:], space[:, 2], faces, 9, 9, cull_backfaces=False)

    coarse, fine = seen(space, faces), refined.coarse(seen(refined.of(space), refined.faces))
    assert coarse.mask.sum() > 60
    assert torch.equal(coarse.mask, fine.mask)
    torch.testing.assert_close(coarse.depth, fine.depth)
    # On an edge either face may win; the place is the same.
    torch.testing.assert_close(coarse.interpolate(space, faces), fine.interpolate(space, faces))


def test_vertices_of_the_refined_surface_move_like_those_of_the_head(anny, dressed):
    """The head model's vertices are the first of the refined ones, posed and folded in the same way."""
    head = anny.neutral_parameters(1)
    head.identity = SUBJECTS["c"].identity(anny.num_identity)
    head.expression = expression(anny, mouthSmile=0.9, browDown=0.8, jawOpen=0.5)[None]
    head.rotation = torch.tensor([[[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]]])
    sway = torch.tensor([0.001, 0.0, 0.002])
    smooth, folded, light = dressed.folded_vertices(head, sway)
    for fine, with_motion in ((smooth, False), (folded, True)):
        expected = dressed.vertices(head, sway, with_motion)
        torch.testing.assert_close(fine[: len(expected)], expected, atol=2e-6, rtol=0)
    assert (folded - smooth).norm(dim=1).max() > 2e-3
    assert light.min() < 0.9
