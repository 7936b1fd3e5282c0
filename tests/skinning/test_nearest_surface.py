"""Inverse skinning against every face of the mesh, at expressions, poses and distances that stretch it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import PosedHead
from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.skinning.head_surface import head_surface
from partnerface.skinning.nearest_surface import NearestSurface
from tests.contracts.inverse_skinning_contract import InverseSkinningContract
from tests.contracts.subjects import in_frame, rigid_parameters
from tests.skinning.plain_inverse_skinning import closest_points_on_triangles, inverse_skinning


class TestNearestSurface(InverseSkinningContract):
    def make(self) -> NearestSurface:
        return NearestSurface()


@pytest.fixture(scope="module")
def posed(anny, random_head_parameters) -> PosedHead:
    return anny(random_head_parameters(frames=2, seed=3))


@pytest.fixture
def skinning(anny) -> NearestSurface:
    made = NearestSurface()
    made.set_surface(anny.faces[head_surface(anny)], torch.full((len(anny.template_vertices),), 0.012))
    return made


def surface_points(
    vertices: torch.Tensor, faces: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random faces ``[N]`` and barycentric coordinates ``[N, 3]``, some on edges and corners."""
    generator = torch.Generator().manual_seed(1)
    face = torch.randint(len(faces), (count,), generator=generator)
    barycentric = torch.rand(count, 3, generator=generator)
    barycentric[: count // 10, 0] = 0
    barycentric[: count // 20, 1] = 0
    return face, barycentric / barycentric.sum(1, keepdim=True)


def interpolate(values: torch.Tensor, corners: torch.Tensor, barycentric: torch.Tensor) -> torch.Tensor:
    return (values[corners] * barycentric[..., None]).sum(1)


def as_double(head: PosedHead, frame: int) -> list[np.ndarray]:
    tensors = (head.vertices[frame], head.vertex_transforms[frame], head.displacements[frame])
    return [t.double().numpy() for t in tensors]


def test_plain_twin_knows_the_regions_of_a_triangle():
    triangle = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    points = np.array([[0.2, 0.2, 3], [2, -1, 0], [-1, -1, 0], [0.5, -2, 0], [1, 1, 0], [-2, 0.5, 1]])
    places = np.array([[0.2, 0.2, 0], [1, 0, 0], [0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0]])
    barycentric, distance = closest_points_on_triangles(points, triangle)
    np.testing.assert_allclose(np.einsum("nmc,mcd->nd", barycentric, triangle), places, atol=1e-12)
    np.testing.assert_allclose(distance[:, 0], np.linalg.norm(points - places, axis=1))


def test_surface_points_are_the_skinned_image_of_what_is_found(posed, skinning):
    for frame in range(2):
        face, barycentric = surface_points(posed.vertices[frame], skinning.faces, 20000)
        corners = skinning.faces[face]
        world = interpolate(posed.vertices[frame], corners, barycentric)
        found = skinning(world, in_frame(world, frame), skinning.posed_surface(posed))
        assert found.valid.all()
        assert found.distance.max() < 1e-6
        again = skinning.faces[found.faces.long()]
        transform = interpolate(posed.vertex_transforms[frame].flatten(1), again, found.barycentric)
        displacement = interpolate(posed.displacements[frame], again, found.barycentric)
        image = transform_points(transform.view(-1, 3, 4), found.points + displacement)
        torch.testing.assert_close(image, world, atol=2e-6, rtol=0)


def test_vertices_return_to_the_canonical_vertices(posed, skinning):
    """At vertices skinning is exact, so the canonical mesh itself is the answer."""
    used = skinning.faces.unique()
    found = skinning(posed.vertices[0, used], in_frame(used), skinning.posed_surface(posed))
    error = (found.points - posed.canonical_vertices[used]).norm(dim=1)
    # Where lips or lids touch, the closest surface may be the other one; nowhere else.
    own = (skinning.faces[found.faces.long()] == used[:, None]).any(1)
    assert own.float().mean() > 0.98
    assert error[own].max() < 1e-5


def test_rigid_surface_points_are_canonical_points(anny, skinning, random_head_parameters):
    """Without expression and torso the map is one rigid motion: its inverse holds inside faces, too."""
    still = rigid_parameters(anny, random_head_parameters(seed=5))
    head = anny(still)
    face, barycentric = surface_points(head.vertices[0], skinning.faces, 5000)
    corners = skinning.faces[face]
    outward = 0.004 * torch.randn(5000, 3, generator=torch.Generator().manual_seed(2))
    canonical = interpolate(head.canonical_vertices, corners, barycentric) + outward
    world = canonical @ still.rotation[0].T + still.translation[0]
    found = skinning(world, in_frame(world), skinning.posed_surface(head))
    near = found.faces >= 0
    assert near.float().mean() > 0.99
    torch.testing.assert_close(found.points[near], canonical[near], atol=1e-5, rtol=0)


def test_equals_brute_force_over_all_faces(posed, skinning):
    face, barycentric = surface_points(posed.vertices[1], skinning.faces, 150)
    world = interpolate(posed.vertices[1], skinning.faces[face], barycentric)
    world = world + 0.005 * torch.randn(150, 3, generator=torch.Generator().manual_seed(4))
    vertices, transforms, displacements = as_double(posed, 1)
    faces = skinning.faces.numpy()
    points, distance, best, weights = inverse_skinning(
        world.double().numpy(), vertices, faces, transforms, displacements
    )
    found = skinning(world, in_frame(world, 1), skinning.posed_surface(posed))
    near = found.faces.numpy() >= 0
    np.testing.assert_array_equal(near, distance < 0.014)
    np.testing.assert_allclose(found.distance.numpy()[near], distance[near], atol=1e-6)
    np.testing.assert_array_equal(found.valid.numpy(), distance <= 0.012)
    same = near & (found.faces.numpy() == best)
    # Closest points on shared edges belong to either face.
    assert same.sum() > 0.6 * near.sum()
    np.testing.assert_allclose(found.barycentric.numpy()[same], weights[same], atol=2e-3)
    np.testing.assert_allclose(found.points.numpy()[near], points[near], atol=1e-5)


def test_shell_is_interpolated_and_ends_where_it_says(posed, skinning):
    """Two points on a normal of one face, just inside and just outside the face's own thickness."""
    thickness = torch.linspace(0.002, 0.02, len(skinning.thickness))
    thickness = thickness[torch.randperm(len(thickness), generator=torch.Generator().manual_seed(0))]
    skinning.set_surface(skinning.faces[:1], thickness)
    corners = posed.vertices[0, skinning.faces[0]]
    normal = torch.linalg.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal = normal / normal.norm()
    weights = torch.tensor([0.2, 0.5, 0.3])
    reach = float(weights @ thickness[skinning.faces[0]])
    radius = float(thickness.max()) + skinning.margin
    heights = torch.tensor([0.0, 0.98 * reach, 1.02 * reach, 0.99 * radius, 1.01 * radius, 1.0])
    points = weights @ corners + heights[:, None] * normal
    found = skinning(points, in_frame(points), skinning.posed_surface(posed))
    assert found.valid.tolist() == [True, True, False, False, False, False]
    assert found.faces.tolist() == [0, 0, 0, 0, -1, -1]
    torch.testing.assert_close(found.distance[:4], heights[:4], atol=1e-6, rtol=1e-4)
    assert found.distance[4:].isinf().all()
    assert not found.points[4:].any()


def test_degenerate_faces_do_no_harm(posed, skinning):
    """Faces shrunk to a line or a point, and one listed twice, beside good ones."""
    good = skinning.faces
    bad = torch.stack([good[0, [0, 1, 1]], good[1, [0, 0, 0]], good[2]])
    world = posed.vertices[0, good.unique()][::7] + 0.003
    before = skinning(world, in_frame(world), skinning.posed_surface(posed))
    skinning.set_surface(torch.cat([bad, good]), skinning.thickness)
    after = skinning(world, in_frame(world), skinning.posed_surface(posed))
    assert after.points.isfinite().all()
    torch.testing.assert_close(after.distance, before.distance, atol=1e-6, rtol=0)
    near = after.faces >= 0
    torch.testing.assert_close(after.points[near], before.points[near], atol=1e-5, rtol=0)


def test_gradient_matches_finite_differences(anny, skinning, random_head_parameters):
    """Against the exact inverse map in float64, with each point bound to its face."""
    start = random_head_parameters(seed=8)
    head = anny(start)
    world = head.vertices[0, skinning.faces.unique()][::40] + 0.002
    names = ("rotation", "translation", "expression")
    leaves = {name: getattr(start, name).clone().requires_grad_() for name in names}
    posed = anny(replace(start, **leaves))
    surface = skinning.posed_surface(posed)
    found = skinning(world, in_frame(world), surface)
    kept = (found.faces >= 0).nonzero()[:, 0]
    found, world = found.select(kept), world[kept]
    followed = skinning.with_gradient(found, world, in_frame(world), surface)
    assert torch.equal(followed, found.points)
    weights = torch.randn(followed.shape, generator=torch.Generator().manual_seed(0))
    (followed * weights).sum().backward()

    precise = AnnyHead().double()
    corners, barycentric = skinning.faces[found.faces.long()], found.barycentric.double()

    def exact(parameters) -> float:
        moved = precise(parameters)
        transform = interpolate(moved.vertex_transforms[0].flatten(1), corners, barycentric).view(-1, 3, 4)
        displacement = interpolate(moved.displacements[0], corners, barycentric)
        canonical = torch.linalg.solve(transform[..., :3], world.double() - transform[..., 3]) - displacement
        return float((canonical * weights).sum())

    double, step = start.to(torch.float64), 1e-5
    for name, places in (("rotation", range(9)), ("translation", range(3)), ("expression", range(0, 52, 6))):
        for place in places:
            values = []
            for sign in (1, -1):
                changed = getattr(double, name).clone()
                changed.view(-1)[place] += sign * step
                values.append(exact(replace(double, **{name: changed})))
            expected = (values[0] - values[1]) / (2 * step)
            assert float(leaves[name].grad.view(-1)[place]) == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_a_point_on_the_surface_is_found_however_often_it_is_looked_for(skinning, posed):
    """The boxes around such points are no more than rounding away."""
    corners, barycentric = surface_points(posed.vertices[0], skinning.faces, 4000)
    points = interpolate(posed.vertices[0], skinning.faces[corners], barycentric).repeat_interleave(3, 0)
    found = skinning(points, in_frame(points), skinning.posed_surface(posed))
    assert (found.faces >= 0).all()
    assert found.valid.all()
    assert float(found.distance.max()) < 1e-6
