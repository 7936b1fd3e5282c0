"""Vertex normals: of a sphere, and of both kinds on random meshes against a loop over the faces."""

import torch

from partnerface.meshes.normals import posed_normals, vertex_normals


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
    """With faces that are a line or a point; the last vertex belongs to none."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(40, 3, generator=generator)
    faces = torch.randint(39, (60, 3), generator=generator)
    faces[:2] = torch.tensor([[1, 1, 2], [3, 3, 3]])
    expected = torch.zeros(40, 3, dtype=torch.float64)
    for a, b, c in faces.tolist():
        first, second = (vertices[k].double() - vertices[a].double() for k in (b, c))
        for corner in (a, b, c):
            expected[corner] += torch.linalg.cross(first, second)
    expected = torch.nn.functional.normalize(expected, dim=1).float()
    for found in (
        vertex_normals(vertices, faces),
        vertex_normals(vertices.expand(2, -1, -1), faces)[1],
        posed_normals(vertices, faces.int()),
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        assert not found[-1].any()
