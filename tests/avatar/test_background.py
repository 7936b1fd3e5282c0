"""Backgrounds against the formula of compositing, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.avatar.background import Background
from partnerface.avatar.picture import Picture
from partnerface.errors import UserError


@pytest.fixture
def picture() -> Picture:
    alpha = torch.linspace(0, 1, 24 * 32).view(24, 32)
    colour = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
    return Picture(colour * alpha, alpha, torch.zeros(24, 32))


@pytest.mark.parametrize(
    ("text", "rgb"),
    [("white", (255, 255, 255)), ("#102030", (16, 32, 48)), ("Navy", (0, 0, 128)), ("#fff", (255,) * 3)],
)
def test_colours(picture: Picture, text: str, rgb: tuple) -> None:
    found = Background.named(text).behind(picture)
    alpha = picture.alpha[None].numpy()
    wanted = 255 * picture.rgb.numpy() + (1 - alpha) * np.array(rgb)[:, None, None]
    assert np.abs(found.transpose(2, 0, 1) - wanted).max() <= 0.5001


def test_transparency_is_straight_and_goes_over_anything(picture: Picture) -> None:
    found = Background.named("transparent").behind(picture)
    assert found.shape == (24, 32, 4)
    for shade in (0, 90, 255):
        below = Image.new("RGBA", (32, 24), (shade,) * 3 + (255,))
        below.alpha_composite(Image.fromarray(found))
        wanted = 255 * picture.over(torch.full((3,), shade / 255)).numpy()
        assert np.abs(np.array(below)[..., :3].transpose(2, 0, 1) - wanted).max() < 2
    assert (found[0, 0] == 0).all()


def test_an_image_covers_the_picture_and_is_cut_at_its_sides(tmp_path: Path, picture: Picture) -> None:
    image = np.zeros((48, 128, 3), np.uint8)
    image[:, 32:64], image[:, 64:96], image[:, 96:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    Image.fromarray(image).save(tmp_path / "wall.png")
    clear = Picture(torch.zeros(3, 24, 32), torch.zeros(24, 32), torch.zeros(24, 32))
    found = Background.named(str(tmp_path / "wall.png")).behind(clear)
    # Twice as high and four times as wide: scaled by half, its middle half is seen.
    assert (found[:, 2:14] == (255, 0, 0)).all()
    assert (found[:, 18:30] == (0, 255, 0)).all()


def test_an_image_is_upright_as_its_camera_says_and_white_where_it_is_transparent(tmp_path: Path) -> None:
    """A phone lays a picture that was taken upright on its side, and says so."""
    upright = np.zeros((64, 32, 3), np.uint8)
    upright[:32] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "phone.jpg", exif=exif, quality=100)
    found = Background.named(str(tmp_path / "phone.jpg")).image
    assert np.abs(found.astype(int) - upright).max() <= 2
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "glass.png")
    found = Background.named(str(tmp_path / "glass.png")).image
    assert np.abs(found[0] - np.array([[200, 0, 0], [255, 255, 255], [244, 204, 204]])).max() <= 1
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([9, 9, 9, 70, 80, 90])
    palette.save(tmp_path / "palette.png", transparency=0)
    found = Background.named(str(tmp_path / "palette.png")).image
    assert found.tolist() == [[[255, 255, 255], [70, 80, 90]]]


@pytest.mark.parametrize("text", ["#10203040", "#1234"])
def test_a_colour_with_alpha_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"--background {text}: is seen through"):
        Background.named(text)
    assert Background.named("#102030ff").colour.tolist() == Background.named("#102030").colour.tolist()


@pytest.mark.parametrize("text", ["whit", "#12345", "", "grene", "rgb(1,2", "hsl(900%)", "none"])
def test_unknown_ones_give_one_line(text: str) -> None:
    with pytest.raises(UserError, match="--background"):
        Background.named(text)
    with pytest.raises(UserError, match="did you mean white"):
        Background.named("whit")
    with pytest.raises(UserError, match=r"wall\.png: no such image"):
        Background.named("wall.png")
