"""Points spread over a mesh: none of its surface is far from one."""

import pytest
import torch

from partnerface.meshes.surface_points import SurfacePoints, spread_points


def test_no_place_of_the_surface_is_farther_than_the_spacing():
    """Long, tiny, obtuse and degenerate faces; random places against all points."""
    generator = torch.Generator().manual_seed(0)
    large, tiny = torch.rand(30, 3, generator=generator), 0.01 * torch.rand(6, 3, generator=generator)
    vertices = torch.cat([large, tiny, torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 0.02, 0]])])
    faces = torch.cat([torch.arange(39).view(13, 3), torch.tensor([[0, 0, 1], [2, 2, 2]])])
    for spacing in (0.05, 0.3, 5.0):
        points = spread_points(vertices, faces, spacing)
        found = points.of(vertices)
        face = torch.randint(len(faces), (400,), generator=generator)
        weights = torch.rand(400, 3, generator=generator)
        weights[:100, 0] = 0
        weights[:60, 1] = 0
        places = (vertices[faces[face]] * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)
        assert torch.cdist(places, found).amin(1).max() <= spacing


def test_points_lie_on_their_faces():
    vertices = torch.rand(9, 3, generator=torch.Generator().manual_seed(0))
    points = spread_points(vertices, torch.arange(9).view(3, 3), 0.1)
    assert (points.barycentric > 0).all()
    torch.testing.assert_close(points.barycentric.sum(1), torch.ones(len(points.barycentric)))
    assert len(points.corners.unique(dim=0)) == 3


def test_values_follow_the_moving_mesh():
    points = SurfacePoints(torch.tensor([[0, 1, 2]]), torch.tensor([[0.5, 0.25, 0.25]]))
    assert points.of(torch.tensor([[4.0], [8.0], [0.0]])).tolist() == [[4.0]]


@pytest.mark.parametrize("spacing", [0.5, 2.0])
def test_no_faces_give_no_points(spacing):
    points = spread_points(torch.rand(3, 3), torch.zeros(0, 3, dtype=torch.long), spacing)
    assert points.corners.shape == (0, 3)
    assert points.of(torch.rand(3, 2)).shape == (0, 2)
