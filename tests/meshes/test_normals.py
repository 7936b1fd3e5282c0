"""Vertex normals of a sphere, and against a loop over the faces; points spread over a mesh."""

import pytest
import torch

from partnerface.meshes.normals import SurfacePoints, posed_normals, spread_points, vertex_normals


def test_vertex_normals_of_a_sphere_point_outwards():
    steps = torch.linspace(0, torch.pi, 33)
    around = torch.linspace(0, 2 * torch.pi, 65)
    polar, azimuth = torch.meshgrid(steps, around, indexing="ij")
    sphere = torch.stack(
        [torch.sin(polar) * torch.cos(azimuth), torch.cos(polar), torch.sin(polar) * torch.sin(azimuth)], -1
    )
    corner = (torch.arange(32)[:, None] * 65 + torch.arange(64)).reshape(-1)
    faces = torch.cat(
        [
            torch.stack([corner, corner + 66, corner + 65], 1),
            torch.stack([corner, corner + 1, corner + 66], 1),
        ]
    )
    normals = vertex_normals(sphere.reshape(-1, 3), faces).reshape(33, 65, 3)
    inner = slice(2, -2)
    assert ((normals * sphere).sum(-1)[inner, 1:-1] > 0.999).all()


def test_both_kinds_against_a_loop():
    """Two frames, with faces that are a line or a point; the last vertex belongs to none."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(2, 40, 3, generator=generator)
    faces = torch.randint(39, (60, 3), generator=generator)
    faces[:2] = torch.tensor([[1, 1, 2], [3, 3, 3]])
    expected = torch.zeros(2, 40, 3, dtype=torch.float64)
    for frame in range(2):
        for a, b, c in faces.tolist():
            first, second = (vertices[frame, k].double() - vertices[frame, a].double() for k in (b, c))
            for corner in (a, b, c):
                expected[frame, corner] += torch.linalg.cross(first, second)
    expected = torch.nn.functional.normalize(expected, dim=2).float()
    for found in (
        torch.stack([vertex_normals(vertices[frame], faces) for frame in range(2)]),
        vertex_normals(vertices, faces),
        posed_normals(vertices, faces.int()),
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        assert not found[:, -1].any()


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
