"""Casting rays against brute force."""

import numpy as np
import torch

from partnerface.meshes.ray_casting import cast_rays
from tests.meshes.plain_ray_casting import box, first_hits


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
