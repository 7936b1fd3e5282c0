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


@pytest.mark.parametrize("text", ["whit", "#12345", "", "grene", "rgb(1,2", "hsl(900%)", "none"])
def test_unknown_ones_give_one_line(text: str) -> None:
    with pytest.raises(UserError, match="--background"):
        Background.named(text)
    with pytest.raises(UserError, match="did you mean white"):
        Background.named("whit")
    with pytest.raises(UserError, match=r"wall\.png: no such image"):
        Background.named("wall.png")
