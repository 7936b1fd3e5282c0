"""Normals of depths in closed form, and pictures on other backgrounds than white."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.avatar.picture import Picture, normals_of_depth
from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.errors import UserError

WIDTH, HEIGHT = 90, 70
INTRINSICS = torch.tensor([110.0, 95.0, 41.0, 38.0])


def rays() -> torch.Tensor:
    """``[H, W, 3]`` unit rays in the camera's axes."""
    camera = Camera(INTRINSICS[None], torch.eye(3, 4)[None], WIDTH, HEIGHT)
    return pixel_rays(camera, image_pixels(WIDTH, HEIGHT)[None]).directions.view(HEIGHT, WIDTH, 3)


def plane_depth(normal: torch.Tensor, distance: float) -> torch.Tensor:
    """Depth along the rays of the plane ``normal @ x = -distance``."""
    return -distance / (rays() @ normal)


@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (0.5, 0.0, -1.0), (-0.3, 0.6, -0.8), (0.0, -0.7, -0.5)])
def test_a_plane_has_its_normal_everywhere_to_the_edge(normal: tuple) -> None:
    expected = torch.nn.functional.normalize(torch.tensor(normal), dim=0)
    found = normals_of_depth(plane_depth(expected, 0.8), INTRINSICS)
    torch.testing.assert_close(found, expected[:, None, None].expand_as(found), atol=2e-3, rtol=0)


def test_a_sphere_before_nothing() -> None:
    centre, radius = torch.tensor([0.02, -0.05, 1.0]), 0.25
    along = rays() @ centre
    inside = along**2 - centre.square().sum() + radius**2
    depth = torch.where(inside > 0, along - inside.clamp_min(0).sqrt(), 0.0)
    found = normals_of_depth(depth, INTRINSICS)
    expected = (rays() * depth[..., None] - centre) / radius
    cosine = (found * expected.permute(2, 0, 1)).sum(0)
    assert (found[:, depth == 0] == 0).all()
    facing = (expected * -rays()).sum(-1)
    # Where the sphere turns away differences over a pixel are long; at the outline only one side is left.
    assert cosine[(depth > 0) & (facing > 0.5)].min() > np.cos(np.radians(2))
    assert cosine[(depth > 0) & (facing > 0.2)].min() > np.cos(np.radians(15))
    assert (found.norm(dim=0)[(depth > 0) & (facing > 0.2)] - 1).abs().max() < 1e-5


def test_an_inner_outline_does_not_pull_the_normals_on_either_side() -> None:
    """A plane half before another, as a nose before a cheek."""
    near, far = (
        torch.nn.functional.normalize(torch.tensor(n), dim=0) for n in ((0.3, 0, -1.0), (0, 0.4, -1.0))
    )
    left = torch.arange(WIDTH) < 30
    depth = torch.where(left, plane_depth(near, 0.5), plane_depth(far, 0.9))
    expected = torch.where(left, near[:, None, None], far[:, None, None]).expand(3, HEIGHT, WIDTH)
    found = normals_of_depth(depth, INTRINSICS)
    assert (found * expected).sum(0).min() > np.cos(np.radians(1.5))


def test_a_lone_pixel_has_no_normal() -> None:
    depth = torch.zeros(HEIGHT, WIDTH)
    depth[5, 5] = 1.0
    assert (normals_of_depth(depth, INTRINSICS) == 0).all()


def picture() -> Picture:
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(5, 7, generator=generator)
    alpha[0, :3], alpha[1, :3] = 0.0, 1.0
    rgb = alpha * torch.rand(3, 5, 7, generator=generator)
    return Picture(rgb, alpha, torch.zeros(5, 7))


def test_a_picture_without_a_camera_says_so() -> None:
    with pytest.raises(UserError, match="intrinsics"):
        _ = picture().normals
    assert replace(picture(), intrinsics=INTRINSICS).normals.shape == (3, 5, 7)


def test_a_transparent_png_over_any_colour_is_the_picture_over_it(tmp_path: Path) -> None:
    """Pillow composites it, with straight alpha."""
    shown = picture()
    shown.save(tmp_path / "a.png", background="transparent")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGBA"
        for colour in ((0, 0, 0), (255, 255, 255), (255, 64, 10)):
            behind = Image.new("RGBA", image.size, (*colour, 255))
            found = np.asarray(Image.alpha_composite(behind, image).convert("RGB"), float)
            expected = shown.over(torch.tensor(colour) / 255).permute(1, 2, 0).numpy() * 255
            assert np.abs(found - expected).max() < 1.6


def test_other_backgrounds(tmp_path: Path) -> None:
    shown = picture()
    behind = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1))
    for name, background in (("colour", (0.2, 0.4, 1.0)), ("picture", behind)):
        path = tmp_path / f"{name}.png"
        shown.save(path, background=background)
        expected = shown.over(torch.as_tensor(background)).permute(1, 2, 0).numpy() * 255
        assert np.abs(np.asarray(Image.open(path), float) - expected).max() < 0.51
    shown.save(tmp_path / "white.png")
    assert (np.asarray(Image.open(tmp_path / "white.png"))[0, :3] == 255).all()


@pytest.mark.parametrize(
    ("name", "background", "words"),
    [
        ("a.jpg", "transparent", "JPEG cannot be transparent"),
        ("a.png", "green", "background green"),
        ("a.png", (0.1, 0.2), "3 numbers"),
        ("a.png", torch.zeros(3, 9, 9), "shape"),
        ("a.gif", "white", "png or .jpg"),
    ],
)
def test_backgrounds_that_cannot_be(tmp_path: Path, name: str, background, words: str) -> None:
    with pytest.raises(UserError, match=words):
        picture().save(tmp_path / name, background=background)
    assert list(tmp_path.iterdir()) == []
