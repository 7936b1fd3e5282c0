"""Normals of depth pictures against surfaces whose normals are known."""

import pytest
import torch

from partnerface.animation.channels import depth_normals, parse_channels
from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.errors import UserError

CAMERA = Camera.static(1, 120.0, 64, 48)


def directions() -> torch.Tensor:
    """``[H, W, 3]`` unit vectors through the pixels, in the camera's axes."""
    rays = pixel_rays(CAMERA, image_pixels(64, 48)[None]).directions[0]
    return (rays @ CAMERA.camera_to_world[0, :, :3]).view(48, 64, 3)


def test_normals_of_a_plane() -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.2, -0.9]), dim=0)
    along = directions()
    # The plane through (0, 0, 1): normal . (t d - p) = 0.
    depth = normal[2] / (along @ normal)
    found = depth_normals(depth, CAMERA)[:, 1:-1, 1:-1]
    assert (found - normal[:, None, None]).abs().max() < 2e-3
    assert (depth_normals(depth, CAMERA)[:, 0] == 0).all()


def test_normals_of_a_sphere_before_a_wall() -> None:
    centre, radius, along = torch.tensor([0.02, -0.01, 1.0]), 0.15, directions()
    half = along @ centre
    inside = half.square() - centre.square().sum() + radius**2
    depth = torch.where(inside > 0, half - inside.clamp_min(0).sqrt(), 0.0)
    wanted = ((along * depth[..., None] - centre) / radius).permute(2, 0, 1)
    found = depth_normals(depth, CAMERA)
    full = found.norm(dim=0) > 0.5
    # Away from the outline, where the sphere bends within a pixel.
    facing = (wanted * -along.permute(2, 0, 1)).sum(0) > 0.5
    assert (full & facing).sum() > 400
    assert ((found * wanted).sum(0)[full & facing] > 0.995).all()
    assert (found[:, depth == 0] == 0).all()
    # The step from the sphere to a wall behind it is no slope.
    wall = torch.where(depth > 0, depth, 1.5)
    step = (wall.unfold(0, 3, 1).unfold(1, 3, 1).amax((-1, -2)) > 1.4) & (depth[1:-1, 1:-1] > 0)
    outline = depth_normals(wall, CAMERA)[:, 1:-1, 1:-1][:, step]
    assert (outline.norm(dim=0) < 0.5).float().mean() > 0.5


def test_channels_by_name() -> None:
    assert parse_channels("depth, rgb") == ("depth", "rgb")
    for wrong in ("", "rgb,", "colour", "rgb,rgb"):
        with pytest.raises(UserError, match="--channels"):
            parse_channels(wrong)
