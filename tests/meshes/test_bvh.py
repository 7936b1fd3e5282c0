"""The hierarchy after moving its vertices, against one that is built anew; rays against brute force."""

import numpy as np
import torch

from partnerface.meshes.bvh import BvhCache, MeshBvh, PosedBvhs, cast_rays
from partnerface.skinning.nearest_surface import NearestSurface, SkinningSurface
from tests.contracts.subjects import in_frame
from tests.meshes.plain_ray_casting import box, first_hits


def closest(hierarchies: MeshBvh | PosedBvhs, faces: torch.Tensor, points: torch.Tensor, frame: int = 0):
    """Distances and faces of the closest surface in a frame, asked through inverse skinning."""
    if isinstance(hierarchies, MeshBvh):
        hierarchies = PosedBvhs([hierarchies])
    count = len(hierarchies.meshes), len(hierarchies.meshes[0].vertices)
    skinning = NearestSurface(margin=10.0)
    skinning.set_surface(faces, torch.zeros(count[1]))
    surface = SkinningSurface(hierarchies, torch.eye(3, 4).repeat(*count, 1, 1), torch.zeros(*count, 3))
    found = skinning(points, in_frame(points, frame), surface)
    return found.distance, found.faces


def test_refitting_equals_building_after_a_large_motion():
    generator = torch.Generator().manual_seed(0)
    faces = torch.randint(40, (60, 3), generator=generator)
    first, second = torch.randn(2, 40, 3, generator=generator)
    points = torch.randn(200, 3, generator=generator)
    moved = MeshBvh(first, faces)
    before = closest(moved, faces, points)
    moved.refit(second)
    after = closest(moved, faces, points)
    expected = closest(MeshBvh(second, faces), faces, points)
    assert not torch.equal(before[0], after[0])
    torch.testing.assert_close(after[0], expected[0], atol=1e-6, rtol=0)
    moved.refit(first)
    torch.testing.assert_close(closest(moved, faces, points)[0], before[0], atol=1e-6, rtol=0)


def test_a_hierarchy_of_a_test_is_refitted_in_training_and_the_other_way_round():
    """Inference mode's tensors may not change outside of it: training after a validation, a refined test."""
    generator = torch.Generator().manual_seed(0)
    faces = torch.randint(40, (60, 3), generator=generator)
    canonical, posed = torch.randn(2, 40, 3, generator=generator)
    points = torch.randn(100, 3, generator=generator)
    expected = closest(MeshBvh(posed, faces), faces, points)
    for made_in_a_test in (True, False):
        cache = BvhCache()
        with torch.inference_mode(made_in_a_test):
            cache.posed(canonical[None].clone(), canonical.clone(), faces.clone())
        with torch.inference_mode(not made_in_a_test):
            found = closest(cache.posed(posed[None], canonical, faces), faces, points)
        torch.testing.assert_close(found[0], expected[0])


def test_later_changes_of_the_callers_tensor_do_not_reach_the_hierarchy():
    vertices = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    faces = torch.arange(12).view(4, 3)
    points = vertices + 0.1
    hierarchy = MeshBvh(vertices, faces)
    expected = closest(hierarchy, faces, points)
    vertices += 100
    torch.testing.assert_close(closest(hierarchy, faces, points), expected)


def test_vertices_with_gradients_or_in_other_layouts_are_taken():
    """Doubles, a transposed view, and a leaf of a graph give what plain floats give."""
    vertices = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    faces = torch.arange(12).view(4, 3)
    points = vertices + 0.1
    expected = closest(MeshBvh(vertices, faces), faces, points)
    for other in (vertices.double(), vertices.T.contiguous().T, vertices.clone().requires_grad_()):
        hierarchy = MeshBvh(torch.zeros_like(vertices), faces)
        hierarchy.refit(other)
        for made in (hierarchy, MeshBvh(other, faces)):
            torch.testing.assert_close(closest(made, faces, points), expected)


def test_of_equally_close_triangles_the_same_is_found_whatever_was_posed_before():
    """Points over the vertices of a grid are as close to six triangles."""
    side = 12
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    canonical = torch.cat([places.float(), torch.zeros(side**2, 1)], 1)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    lower = torch.stack([corner, corner + 1, corner + side], 1)
    faces = torch.cat([lower, torch.stack([corner + 1, corner + side + 1, corner + side], 1)])
    points = canonical + torch.tensor([0.0, 0.0, 0.5])
    turned = canonical @ torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    fresh, used = BvhCache(), BvhCache()
    used.posed(torch.stack([3 * turned, turned]), canonical, faces)
    found = [
        closest(hierarchies.posed(canonical.expand(2, -1, -1), canonical, faces), faces, points, frame)[1]
        for hierarchies in (fresh, used)
        for frame in (0, 1)
    ]
    assert all(torch.equal(found[0], other) for other in found[1:])
    first_pose = MeshBvh(3 * turned, faces)
    first_pose.refit(canonical)
    assert not torch.equal(closest(first_pose, faces, points)[1], found[0])


def test_every_frame_has_its_own_pose_however_many_frames_came_before():
    """Against hierarchies built over each pose; more frames, fewer, and as many as before."""
    generator = torch.Generator().manual_seed(0)
    canonical, points = torch.randn(40, 3, generator=generator), torch.randn(100, 3, generator=generator)
    faces = torch.randint(40, (60, 3), generator=generator)
    cache = BvhCache()
    for frames in (2, 3, 1, 2):
        vertices = torch.randn(frames, 40, 3, generator=generator)
        posed = cache.posed(vertices, canonical, faces)
        assert len(posed.meshes) == len(posed.ids) == frames
        for frame in range(frames):
            expected = closest(MeshBvh(vertices[frame], faces), faces, points)
            found = closest(posed, faces, points, frame)
            torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=0)


def test_equals_every_triangle():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(60, 3, generator=generator)
    faces = torch.cat([torch.arange(60).view(20, 3), torch.tensor([[0, 0, 1], [4, 4, 4]])])
    origins = 2 * torch.randn(300, 3, generator=generator)
    targets = vertices[faces[torch.randint(20, (300,), generator=generator)]].mean(1)
    directions = torch.nn.functional.normalize(targets - origins, dim=1)
    directions[:60] = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator), dim=1)
    expected = first_hits(vertices, faces, origins, directions)
    found = cast_rays(vertices, faces, origins, directions).numpy()
    assert 0 < np.isinf(expected).sum() < 300
    np.testing.assert_allclose(found, np.where(np.isinf(expected), -1, expected), atol=1e-5)


def test_faces_are_met_from_either_side_and_along_the_axes():
    vertices, faces = (torch.from_numpy(a) for a in box((2.0, 2.0, 2.0), (3, 3, 3)))
    directions = torch.cat([torch.eye(3), -torch.eye(3)])
    inside = torch.full((6, 3), 0.1)
    expected = torch.where(directions.sum(1) > 0, 0.9, 1.1)
    torch.testing.assert_close(cast_rays(vertices, faces, inside, directions), expected)
    found = cast_rays(vertices, faces, inside - 3 * directions, directions)
    torch.testing.assert_close(found, torch.where(directions.sum(1) > 0, 1.9, 2.1))


def test_nothing_to_cast_or_to_meet():
    vertices = torch.rand(3, 3)
    one = torch.tensor([[0, 1, 2]])
    direction = torch.tensor([[0.0, 0.0, 1.0]])
    assert cast_rays(vertices, one[:0], torch.zeros(1, 3), direction).tolist() == [-1]
    assert cast_rays(vertices, one, torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0,)
    assert cast_rays(vertices, one, torch.zeros(1, 3), -direction).tolist() == [-1]
