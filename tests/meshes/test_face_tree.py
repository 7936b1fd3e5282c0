"""Packets of points in a tree of boxes against every face, in double precision, where packets help least."""

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from partnerface.meshes.face_tree import FaceTree, PosedTree
from partnerface.skinning.nearest_surface import NearestSurface, SkinningSurface
from tests.skinning.plain_inverse_skinning import closest_points_on_triangles


def closest(posed: PosedTree, faces: torch.Tensor, points: torch.Tensor, frame: torch.Tensor, radius=10.0):
    """Distances, faces and barycentric coordinates by inverse skinning with no shell."""
    count = posed.vertices.shape[:2]
    skinning = NearestSurface(margin=radius)
    skinning.set_surface(faces, torch.zeros(count[1]))
    surface = SkinningSurface(posed, torch.eye(3, 4).repeat(*count, 1, 1), torch.zeros(*count, 3))
    found = skinning(points, frame, surface)
    return found.distance, found.faces, found.barycentric


def check(
    vertices: torch.Tensor, faces: torch.Tensor, points: torch.Tensor, frame: torch.Tensor, posed: PosedTree
):
    distance, face, barycentric = closest(posed, faces, points, frame)
    for number in range(len(vertices)):
        here = (frame == number).numpy()
        triangles = vertices[number].double().numpy()[faces.numpy()]
        _, gaps = closest_points_on_triangles(points.double().numpy()[here], triangles)
        np.testing.assert_allclose(distance.numpy()[here], gaps.min(1), atol=2e-6, rtol=1e-6)
        # The face and the place on it that are named lie at that distance.
        weights, chosen = barycentric.double().numpy()[here], triangles[face.numpy()[here]]
        places = np.einsum("nc,ncd->nd", weights, chosen)
        gap = np.linalg.norm(points.double().numpy()[here] - places, axis=1)
        np.testing.assert_allclose(gap, gaps.min(1), atol=2e-6, rtol=1e-5)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        assert weights.min() >= 0


@pytest.mark.parametrize("count", [1, 2, 3, 9, 700])
def test_equals_every_face_in_poses_far_from_the_one_it_was_split_in(count):
    """Long thin faces that cross each other, of points without order, in frames without order."""
    generator = torch.Generator().manual_seed(count)
    vertices = torch.randn(3, 3 * count, 3, generator=generator)
    vertices[2, 1::3] = vertices[2, ::3] + 1e-3 * vertices[2, 1::3]
    faces = torch.randperm(3 * count, generator=generator).view(-1, 3)
    tree = FaceTree(vertices[0], faces)
    points = 1.5 * torch.randn(203, 3, generator=generator)
    points[:40] = vertices[0, faces[torch.randint(count, (40,), generator=generator)]].mean(1)
    frame = torch.randint(3, (203,), generator=generator).int()
    check(vertices, faces, points, frame, tree.posed(vertices))


def test_equals_every_face_along_rays_and_for_one_point_many_times():
    """What packets are made for, with an end of the list, of a frame and of a run within a packet."""
    generator = torch.Generator().manual_seed(0)
    vertices = 0.1 * torch.randn(2, 300, 3, generator=generator)
    faces = torch.randint(300, (400, 3), generator=generator)
    start, direction = 0.2 * torch.randn(2, 12, 1, 3, generator=generator)
    rays = (start + torch.linspace(0, 1, 11)[:, None] * direction).flatten(0, 1)
    points = torch.cat([rays, rays[:1].expand(21, 3), vertices[0, :7]])
    frame = torch.arange(len(points)).int() // 75
    check(vertices, faces, points, frame, FaceTree(vertices[0], faces).posed(vertices))


def test_faces_without_area_are_edges_and_points():
    """Some exactly, some but for the rounding of a corner, near them and far away."""
    generator = torch.Generator().manual_seed(1)
    vertices = torch.randn(1, 300, 3, generator=generator)
    along = torch.rand(100, 1, generator=generator)
    vertices[0, 200:] = torch.lerp(vertices[0, :100], vertices[0, 100:200], along)
    slivers = torch.arange(300).view(3, 100).T
    faces = torch.cat([slivers, torch.tensor([[0, 1, 1], [4, 4, 4], [0, 0, 7], [5, 6, 5]])])
    for size in (1.0, 1e-3):
        scale = torch.tensor([1e-2, 1e-1, 3.0]).repeat_interleave(60)[:, None]
        points = vertices[0, :180] + scale * torch.randn(180, 3, generator=generator)
        posed = FaceTree(vertices[0], faces).posed(size * vertices)
        check(size * vertices, faces, size * points, torch.zeros(180).int(), posed)


def test_a_mesh_of_very_many_faces():
    """A plane over which distances are heights."""
    side = 240
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    vertices = 0.01 * torch.cat([places.float(), torch.zeros(side**2, 1)], 1)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    lower = torch.stack([corner, corner + 1, corner + side], 1)
    faces = torch.cat([lower, torch.stack([corner + 1, corner + side + 1, corner + side], 1)])
    points = 2.39 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    points[:, 2] *= 0.01
    distance, face, weights = closest(
        FaceTree(vertices, faces).posed(vertices[None]), faces, points, torch.zeros(300).int()
    )
    torch.testing.assert_close(distance, points[:, 2], atol=1e-6, rtol=0)
    below = (vertices[faces[face.long()]] * weights[..., None]).sum(1)
    torch.testing.assert_close(below[:, :2], points[:, :2], atol=1e-5, rtol=0)


def test_of_equally_close_faces_the_same_is_found_whatever_is_searched_for_beside():
    """Points over the vertices of a grid are as close to six triangles."""
    side = 12
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    vertices = torch.cat([places.float(), torch.zeros(side**2, 1)], 1)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    lower = torch.stack([corner, corner + 1, corner + side], 1)
    faces = torch.cat([lower, torch.stack([corner + 1, corner + side + 1, corner + side], 1)])
    points = 0.01 * (vertices + torch.tensor([0.0, 0.0, 0.5]))
    posed = FaceTree(vertices, faces).posed(0.01 * vertices[None])
    frame = torch.zeros(len(points)).int()
    expected = closest(posed, faces, points, frame)
    for seed in range(3):
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        shuffled = closest(posed, faces, points[order], frame)
        assert all(torch.equal(a[order], b) for a, b in zip(expected, shuffled, strict=True))
    alone = [closest(posed, faces, point[None], frame[:1])[1] for point in points]
    assert torch.equal(torch.cat(alone), expected[1])


def test_the_search_ends_at_its_radius_for_each_point_of_a_packet():
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    heights = torch.tensor([0.0, 0.0199, 0.0201, 0.5, 0.0199])
    points = torch.tensor([0.2, 0.2, 0.0]) + heights[:, None] * torch.tensor([0.0, 0.0, 1.0])
    faces = torch.tensor([[0, 1, 2]])
    posed = FaceTree(vertices[0], faces).posed(vertices)
    distance, face, _ = closest(posed, faces, points, torch.zeros(5).int(), radius=0.02)
    assert face.tolist() == [0, 0, -1, -1, 0]
    assert distance.isinf().tolist() == [False, False, True, True, False]


def test_a_vertex_that_is_no_number_takes_its_own_faces_away_and_no_others():
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2], [1, 0, 2], [0, 1, 2]]])
    vertices[0, 4] = torch.nan
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    posed = FaceTree(torch.zeros(6, 3), faces).posed(vertices)
    points = torch.tensor([[0.1, 0.1, 0.01], [torch.nan, 0.1, 0.01], [0.1, 0.1, 0.01], [0.1, 0.1, 1.9]])
    distance, face, _ = closest(posed, faces, points, torch.zeros(4).int(), radius=0.5)
    assert face.tolist() == [0, -1, 0, -1]
    torch.testing.assert_close(distance[[0, 2]], torch.tensor([0.01, 0.01]))


def test_of_faces_that_share_the_closest_edge_or_corner_the_first_is_found_however_they_are_written():
    """Rounding does not decide: a map that jumps from face to face would jump with it."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.nn.functional.normalize(torch.randn(1, 60, 3, generator=generator), dim=2)
    faces = torch.from_numpy(ConvexHull(vertices[0].numpy()).simplices).long()
    # Over edges and corners of a convex body.
    weights = torch.rand(400, 2, 1, generator=generator)
    weights[:50, 0] = 0
    edges = faces[torch.randint(len(faces), (400,), generator=generator), :2]
    points = 1.3 * (vertices[0, edges] * weights / weights.sum(1, keepdim=True)).sum(1)
    frame = torch.zeros(400).int()
    found = []
    for turn in range(3):
        for written in (faces.roll(turn, 1), faces.roll(turn, 1).flip(1)):
            tree = FaceTree(vertices[0], written)
            found.append(closest(tree.posed(vertices), written, points, frame)[1])
    assert all(torch.equal(found[0], other) for other in found[1:])
    shared = (faces[found[0].long()][:, :, None] == edges[:, None]).any(1).all(1)
    assert shared.float().mean() > 0.3
