"""Pinhole cameras against hand arithmetic and against the rays through their pixels."""

import math

import pytest
import torch
from pytorch3d.transforms import random_rotations

from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays


@pytest.fixture
def camera() -> Camera:
    """Two cameras anywhere, with unequal focal lengths and off-centre principal points."""
    torch.manual_seed(0)
    pose = torch.cat([random_rotations(2), torch.randn(2, 3, 1)], 2)
    intrinsics = torch.tensor([[100.0, 120.0, 30.0, 20.0], [50.0, 50.0, 33.0, 19.5]])
    return Camera(intrinsics, pose, width=64, height=40)


def test_static_camera_by_hand():
    """World y is up and the camera looks along -z; a point up and to the right lands there."""
    camera = Camera.static(1, focal=100.0, width=64, height=48)
    pixels, depth = camera.project(torch.tensor([[[0.1, 0.2, -2.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]]))
    assert pixels[0, 0].tolist() == pytest.approx([32 + 5, 24 - 10])
    assert pixels[0, 1].tolist() == [32, 24]
    assert depth[0].tolist() == [2, 1, -1]


def test_projection_equals_the_matrix_product(camera):
    points = torch.randn(2, 30, 3)
    pixels, depth = camera.project(points)
    for f in range(2):
        pose = torch.eye(4)
        pose[:3] = camera.camera_to_world[f]
        fx, fy, cx, cy = camera.intrinsics[f].tolist()
        matrix = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        local = torch.linalg.inv(pose)[:3] @ torch.cat([points[f], torch.ones(30, 1)], 1).T
        image = matrix @ local
        torch.testing.assert_close(depth[f], local[2], atol=1e-5, rtol=1e-4)
        clear = local[2].abs() > 0.1
        torch.testing.assert_close(pixels[f, clear], (image[:2] / image[2]).T[clear], atol=2e-2, rtol=1e-3)


def test_points_on_a_pixels_ray_project_to_the_pixel(camera):
    pixels = torch.rand(2, 50, 2) * torch.tensor([64.0, 40.0])
    rays = pixel_rays(camera, pixels)
    distance = 0.2 + 3 * torch.rand(2, 50, 1)
    found, depth = camera.project(rays.origins + distance * rays.directions)
    torch.testing.assert_close(found, pixels, atol=1e-2, rtol=0)
    assert (depth > 0).all()
    torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(2, 50))
    torch.testing.assert_close(rays.image_uv, pixels / torch.tensor([64.0, 40.0]))


def test_resized_camera_sees_the_same_share_of_the_image(camera):
    points = torch.randn(2, 20, 3) + 3 * camera.camera_to_world[:, None, :, 2]
    pixels, depth = camera.project(points)
    small = camera.resized(16, 30)
    again, same_depth = small.project(points)
    assert (small.width, small.height) == (16, 30)
    torch.testing.assert_close(again / torch.tensor([16.0, 30.0]), pixels / torch.tensor([64.0, 40.0]))
    assert torch.equal(depth, same_depth)
    assert camera.intrinsics[0].tolist() == [100, 120, 30, 20]


def test_field_of_view_of_the_border_rays():
    camera = Camera.static(1, focal=32.0, width=64, height=64)
    rays = pixel_rays(camera, torch.tensor([[[0.0, 32.0], [64.0, 32.0], [32.0, 0.0]]]))
    left, right, top = rays.directions[0]
    assert math.degrees(torch.acos(left @ right)) == pytest.approx(90, abs=1e-3)
    assert left[0] < 0 < right[0]
    assert top[1] > 0 > top[2]


def test_select_and_to(camera):
    other = camera.select([1]).to(torch.float64)
    assert len(other) == 1
    assert other.intrinsics.dtype == torch.float64
    assert torch.equal(other.camera_to_world[0].float(), camera.camera_to_world[1])
    assert len(camera.select(slice(0, 0))) == 0


def test_image_pixels_are_the_centres_row_by_row():
    expected = [[x + 0.5, y + 0.5] for y in range(3) for x in range(4)]
    assert image_pixels(4, 3).tolist() == expected


def test_frames_and_rays_are_taken_apart(camera):
    rays = pixel_rays(camera, torch.rand(2, 7, 2))
    assert rays.count == 7
    assert rays.frames.tolist() == [0] * 7 + [1] * 7
    second = rays.frame(1)
    assert torch.equal(second.origins, rays.origins[1:])
    assert torch.equal(second.image_uv, rays.image_uv[1:])
    some = rays.select(torch.tensor([6, 0]))
    assert torch.equal(some.directions[:, 0], rays.directions[:, 6])
    assert torch.equal(rays.select(slice(2, 4)).origins, rays.origins[:, 2:4])
