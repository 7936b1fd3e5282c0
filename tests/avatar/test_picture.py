"""Pictures: colour over a background, layout and files, by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.avatar.picture import Picture, image_bytes
from partnerface.errors import UserError
from partnerface.rendering.rendered_rays import RenderedRays


def two_pixels() -> Picture:
    """A half covered pixel that is red and an opaque grey one."""
    return Picture(
        rgb=torch.tensor([[[0.5, 0.25]], [[0.0, 0.25]], [[0.0, 0.25]]]),
        alpha=torch.tensor([[0.5, 1.0]]),
        depth=torch.tensor([[0.0, 0.9]]),
    )


def test_over_by_hand():
    """The colour is premultiplied: over black it is itself, and the background adds what alpha leaves."""
    shown = two_pixels()
    assert torch.equal(shown.over(torch.zeros(3)), shown.rgb)
    blue = torch.tensor([0.0, 0.0, 1.0])
    expected = torch.tensor([[[0.5, 0.25]], [[0.0, 0.25]], [[0.5, 0.25]]])
    assert torch.equal(shown.over(blue), expected)
    assert torch.equal(shown.over(blue[:, None, None].expand(3, 1, 2)), expected)
    assert shown.on_white()[:, 0].T.tolist() == [[1.0, 0.5, 0.5], [0.25, 0.25, 0.25]]


def test_a_picture_as_background_shows_each_pixel_its_own():
    behind = torch.rand(3, 1, 2, generator=torch.Generator().manual_seed(0))
    found = two_pixels().over(behind)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([0.5, 0, 0]) + 0.5 * behind[:, 0, 0])
    assert torch.equal(found[:, 0, 1], torch.full((3,), 0.25))


def test_rays_are_laid_out_row_by_row():
    height, width = 2, 3
    count = height * width
    rays = RenderedRays(
        rgb=torch.arange(3.0 * count).view(1, count, 3),
        opacity=torch.arange(float(count))[None],
        depth=0.6 * torch.ones(1, count),
        head_opacity=torch.tensor([[0.0, 0.3, 0.6, 1.0, 0.5, 0.75]]),
        part_weights=torch.arange(2.0 * count).view(1, count, 2),
    )
    shown = Picture.from_rays(rays, height, width)
    for y in range(height):
        for x in range(width):
            ray = y * width + x
            assert shown.rgb[:, y, x].tolist() == rays.rgb[0, ray].tolist()
            assert shown.alpha[y, x] == ray
            assert shown.part_weights[y, x].tolist() == [2 * ray, 2 * ray + 1]
    expected = torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8]])
    torch.testing.assert_close(shown.depth, expected)
    rays.part_weights = None
    assert Picture.from_rays(rays, height, width).part_weights is None


def test_bytes_round_and_never_wrap():
    shown = two_pixels()
    shown.rgb = torch.tensor([[[-0.1, 0.2]], [[1.4, 0.5]], [[0.25, 1.0]]])
    assert shown.to_bytes().tolist() == [[[102, 255, 191], [51, 128, 255]]]
    assert shown.to_bytes().dtype == np.uint8


@pytest.mark.parametrize("name", ["face.png", "face.JPG", "face.jpeg"])
def test_a_saved_picture_is_read_back(tmp_path, name):
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(3, 1, 1, generator=generator).expand(3, 16, 24)
    shown = Picture(rgb, torch.ones(16, 24), torch.zeros(16, 24))
    shown.save(tmp_path / name)
    found = np.asarray(Image.open(tmp_path / name))
    assert found.shape == (16, 24, 3)
    assert np.abs(found.astype(int) - shown.to_bytes()).max() <= (0 if name == "face.png" else 3)


@pytest.mark.parametrize("name", ["face.gif", "face", "face.png.exe"])
def test_an_unknown_suffix_is_refused_and_nothing_written(tmp_path, name):
    with pytest.raises(UserError, match=r"face.*: a picture is written as \.png or \.jpg"):
        two_pixels().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError) as refused:
        two_pixels().save(str(tmp_path / "nowhere" / "face.png"))
    assert "nowhere" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_picture_is_rounded_and_pictures_stand_in_a_row() -> None:
    image = torch.tensor([[[0.0, 0.5, 2.0]], [[1.0, 0.25, -1.0]], [[0.1, 0.2, 0.3]]])
    pixels = [[0, 255, 26], [128, 64, 51], [255, 0, 76]]
    assert image_bytes(image).tolist() == [pixels]
    assert image_bytes(image, image[:, :, :1]).tolist() == [[*pixels, pixels[0]]]
