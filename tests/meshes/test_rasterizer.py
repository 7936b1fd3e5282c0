"""The rasterizer against brute-force ray casting."""

import pytest
import torch

from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.meshes import rasterizer
from partnerface.meshes.rasterizer import rasterize_mesh


def cast_rays(vertices, faces, camera, cull_backfaces):
    """Nearest hit of the ray through every pixel centre, one ray-plane intersection per face, in double."""
    rays = pixel_rays(camera, image_pixels(camera.width, camera.height)[None])
    origin, direction = rays.origins[0, :, None].double(), rays.directions[0, :, None].double()
    a, b, c = vertices.double()[faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    slope = (direction * normal).sum(-1)
    distance = ((a - origin) * normal).sum(-1) / slope
    hit = origin + distance[..., None] * direction
    area = normal.square().sum(-1)
    weights = torch.stack(
        [
            (torch.linalg.cross((c - b).expand_as(hit), hit - b) * normal).sum(-1) / area,
            (torch.linalg.cross((a - c).expand_as(hit), hit - c) * normal).sum(-1) / area,
            (torch.linalg.cross((b - a).expand_as(hit), hit - a) * normal).sum(-1) / area,
        ],
        -1,
    )
    valid = (weights >= 0).all(-1) & (distance > 0)
    if cull_backfaces:
        valid &= slope < 0
    distance = torch.where(valid, distance, torch.inf)
    nearest, face = distance.min(1)
    margin = weights.gather(1, face[:, None, None].expand(-1, 1, 3))[:, 0]
    seen = nearest.isfinite()
    # Clear of every edge by a margin, so that rounding cannot decide the answer.
    clear = (weights.abs().amin(-1) > 1e-4).all(1)
    local = camera.world_to_camera((origin + nearest[:, None, None] * direction).float().permute(1, 0, 2))
    return torch.where(seen, face, -1), margin, local[0, :, 2], clear


def triangle_soup(count, seed):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(count, 1, 3, generator=generator) * torch.tensor([0.8, 0.8, 0.6])
    corners = centres + 0.35 * (torch.rand(count, 3, 3, generator=generator) - 0.5)
    vertices = (corners - torch.tensor([0.4, 0.4, 1.6])).reshape(-1, 3)
    return vertices, torch.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("cull_backfaces", [True, False])
def test_agrees_with_ray_casting(cull_backfaces):
    vertices, faces = triangle_soup(60, seed=0)
    camera = Camera.static(1, 40.0, 37, 29)
    pixels, depth = camera.project(vertices[None])
    found = rasterize_mesh(pixels[0], depth[0], faces, 37, 29, cull_backfaces)
    face, barycentric, hit_depth, clear = cast_rays(vertices, faces, camera, cull_backfaces)
    assert clear.float().mean() > 0.9
    assert (face[clear] >= 0).float().mean() > 0.15
    assert torch.equal(found.faces.reshape(-1)[clear], face[clear])
    seen = clear & (face >= 0)
    torch.testing.assert_close(
        found.barycentric.reshape(-1, 3)[seen], barycentric[seen].float(), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(found.depth.reshape(-1)[seen], hit_depth[seen].float(), atol=1e-4, rtol=0)
    assert torch.isinf(found.depth[~found.mask]).all()


def test_interpolation_is_perspective_correct():
    """A position interpolated over a slanted face must lie on the pixel's own ray."""
    vertices = torch.tensor([[-0.5, -0.5, -0.6], [0.5, -0.4, -3.0], [0.0, 0.6, -1.0]])
    camera = Camera.static(1, 30.0, 32, 32)
    faces = torch.tensor([[0, 1, 2]])
    pixels, depth = camera.project(vertices[None])
    found = rasterize_mesh(pixels[0], depth[0], faces, 32, 32)
    assert found.mask.sum() > 100
    positions = found.interpolate(vertices, faces)
    back, _ = camera.project(positions[None])
    centres = image_pixels(32, 32)[found.mask.reshape(-1)]
    torch.testing.assert_close(back[0], centres, atol=1e-3, rtol=0)


def test_faces_behind_or_far_outside_the_image_are_dropped():
    vertices = torch.tensor(
        [
            *([0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]),
            *([0.0, 0.0, -1.0], [1.0, 0.0, -1.0], [0.0, 1.0, 0.5]),
            *([9.0, 9.0, -1e-5], [9.0, 9.1, -1e-5], [9.1, 9.0, -1e-5]),
        ]
    )
    camera = Camera.static(1, 1e4, 8, 8)
    pixels, depth = camera.project(vertices[None])
    found = rasterize_mesh(pixels[0], depth[0], torch.arange(9).reshape(3, 3), 8, 8, cull_backfaces=False)
    assert not found.mask.any()


def test_one_face_can_fill_the_image_and_one_can_miss_every_centre():
    big = torch.tensor([[-100.0, -100.0], [300.0, -100.0], [-100.0, 300.0]])
    tiny = torch.tensor([[2.6, 2.6], [2.9, 2.6], [2.6, 2.9]])
    faces = torch.tensor([[0, 1, 2]])
    for corners, expected in ((big, 25), (tiny, 0)):
        found = rasterize_mesh(corners, torch.ones(3), faces, 5, 5, cull_backfaces=False)
        assert int(found.mask.sum()) == expected


def test_faces_that_are_drawn_a_few_at_once(monkeypatch):
    """Faces with too many candidates for the memory are drawn in parts: the nearest of all is still seen."""
    vertices, faces = triangle_soup(60, seed=0)
    # Twice the same faces: of equally near ones the last is seen, wherever it is drawn.
    faces = torch.cat([faces, faces])
    pixels, depth = Camera.static(1, 40.0, 37, 29).project(vertices[None])
    whole = rasterize_mesh(pixels[0], depth[0], faces, 37, 29)
    monkeypatch.setattr(rasterizer, "MOST_CANDIDATES", 500)
    parts = rasterize_mesh(pixels[0], depth[0], faces, 37, 29)
    for name in ("faces", "barycentric", "depth"):
        assert torch.equal(getattr(parts, name), getattr(whole, name))
