"""Triangle transfer: exact for rigid heads, centroids and normals; close to the blended map elsewhere."""

from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import random_rotations

from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.skinning.head_surface import head_surface
from partnerface.skinning.nearest_surface import NearestSurface
from partnerface.skinning.nearest_triangle import LARGEST_SCALE, NearestTriangle, triangle_similarities
from tests.contracts.inverse_skinning_contract import InverseSkinningContract
from tests.contracts.subjects import in_frame


class TestNearestTriangle(InverseSkinningContract):
    # A triangle's frame does not say how its corners move against each other.
    expression_error_m = 3e-3

    def make(self) -> NearestTriangle:
        return NearestTriangle()


@pytest.fixture
def skinning(anny) -> NearestTriangle:
    made = NearestTriangle()
    made.set_surface(anny.faces[head_surface(anny)], torch.full((len(anny.template_vertices),), 0.012))
    return made


def random_triangles(count: int) -> torch.Tensor:
    return 0.01 * torch.randn(count, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_similar_triangles_are_carried_by_their_similarity():
    torch.manual_seed(0)
    source = random_triangles(50)
    rotations, shift = random_rotations(50, dtype=torch.float64), torch.randn(50, 1, 3, dtype=torch.float64)
    target = 1.7 * source @ rotations.transpose(1, 2) + shift
    found = triangle_similarities(source, target)
    points = torch.randn(50, 3, dtype=torch.float64)
    expected = 1.7 * (rotations @ points[..., None])[..., 0] + shift[:, 0]
    torch.testing.assert_close(transform_points(found, points), expected)


def test_of_any_two_triangles_centroid_normal_and_first_edge_correspond():
    source, target = random_triangles(80).split(40)
    found = triangle_similarities(source, target)
    torch.testing.assert_close(transform_points(found, source.mean(1)), target.mean(1))
    linear = found[..., :3]
    for name in ("normal", "edge"):
        vectors = []
        for triangles in (source, target):
            edges = triangles[:, 1:] - triangles[:, :1]
            vector = torch.linalg.cross(edges[:, 0], edges[:, 1]) if name == "normal" else edges[:, 0]
            vectors.append(torch.nn.functional.normalize(vector, dim=1))
        carried = torch.nn.functional.normalize((linear @ vectors[0][..., None])[..., 0], dim=1)
        torch.testing.assert_close(carried, vectors[1], msg=name)
    scale = torch.linalg.det(linear) ** (1 / 3)
    assert scale.max() <= LARGEST_SCALE * (1 + 1e-9)
    assert scale.min() >= (1 - 1e-9) / LARGEST_SCALE


def test_collapsed_triangles_stay_finite():
    source = random_triangles(3).requires_grad_()
    flat = source.detach().clone()
    flat[0, 1] = flat[0, 0]
    flat[1] = flat[1, :1]
    for pair in ((flat, source), (source, flat)):
        found = triangle_similarities(*pair)
        assert found.isfinite().all()
        (gradient,) = torch.autograd.grad(found.sum(), source)
        assert gradient.isfinite().all()


def test_under_expressions_it_is_near_the_blended_map(anny, skinning, random_head_parameters):
    """Same faces, same shell; places differ by what a triangle's frame cannot say: tenths of millimetres."""
    posed = anny(random_head_parameters(seed=3))
    world = posed.vertices[0, skinning.faces.unique()] + 0.001
    blended = NearestSurface()
    blended.set_surface(skinning.faces, skinning.thickness)
    expected = blended(world, in_frame(world), blended.posed_surface(posed))
    found = skinning(world, in_frame(world), skinning.posed_surface(posed))
    assert torch.equal(found.faces, expected.faces)
    assert torch.equal(found.valid, expected.valid)
    difference = (found.points - expected.points)[found.valid].norm(dim=1)
    assert difference.median() < 5e-4
    assert difference.quantile(0.9) < 3e-3


def test_gradient_follows_the_head_parameters(anny, skinning, random_head_parameters):
    """Against finite differences of the transfer with each point bound to its face."""
    start = random_head_parameters(seed=8)
    translation = start.translation.clone().requires_grad_()
    posed = anny(replace(start, translation=translation))
    surface = skinning.posed_surface(posed)
    world = posed.vertices[0, skinning.faces.unique()][::40].detach() + 0.002
    found = skinning(world, in_frame(world), surface)
    kept = (found.faces >= 0).nonzero()[:, 0]
    found, world = found.select(kept), world[kept]
    followed = skinning.with_gradient(found, world, in_frame(world), surface)
    torch.testing.assert_close(followed, found.points)
    weights = torch.randn(followed.shape, generator=torch.Generator().manual_seed(0))
    (followed * weights).sum().backward()
    corners = skinning.faces[found.faces.long()]
    precise = type(anny)().double()
    for axis in range(3):
        values = []
        for sign in (1, -1):
            moved = start.to(torch.float64)
            moved.translation[0, axis] += sign * 1e-5
            head = precise(moved)
            carry = triangle_similarities(head.vertices[0][corners], head.canonical_vertices[corners])
            values.append(float((transform_points(carry, world.double()) * weights).sum()))
        expected = (values[0] - values[1]) / 2e-5
        assert float(translation.grad[0, axis]) == pytest.approx(expected, rel=5e-3, abs=5e-3)
