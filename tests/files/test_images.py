import numpy as np
import pytest
from PIL import Image

from partnerface.errors import UserError
from partnerface.files.images import (
    image_size,
    read_grey,
    read_labels,
    read_matte,
    read_rgb,
    shrink,
    write_image,
)


def test_round_trip(tmp_path):
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for image, read in ((colour, read_rgb), (colour[..., 1], read_grey), (colour[:, ::-1], read_rgb)):
        write_image(tmp_path / "a.png", image)
        assert np.array_equal(read(tmp_path / "a.png"), image)
    assert image_size(tmp_path / "a.png") == (7, 5)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_palette_and_alpha_become_rgb(tmp_path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "alpha.png")
    Image.new("RGB", (2, 2), (10, 20, 30)).convert("P").save(tmp_path / "palette.png")
    assert read_rgb(tmp_path / "alpha.png").tolist() == [[[10, 20, 30]] * 2] * 2
    assert read_rgb(tmp_path / "palette.png").shape == (2, 2, 3)


def test_a_matte_is_the_alpha_where_there_is_any(tmp_path):
    matte = np.array([[0, 128], [255, 7]], np.uint8)
    white = np.full((2, 2, 3), 255, np.uint8)
    for number, image in enumerate(
        (
            matte,
            np.dstack([white, matte]),
            np.dstack([matte] * 3),
            np.dstack([matte] * 3 + [white[..., 0]]),
        )
    ):
        write_image(tmp_path / f"{number}.png", image)
        assert np.array_equal(read_matte(tmp_path / f"{number}.png"), matte)


def test_bad_files_are_named(tmp_path):
    write_image(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    for name in ("cut.png", "text.png", "empty.png", "missing.png", "."):
        for read in (read_rgb, read_grey):
            with pytest.raises(UserError, match=name.replace(".", r"\.") if name != "." else "image"):
                read(tmp_path / name)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match=r"missing/a\.png"):
        write_image(tmp_path / "missing" / "a.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png"):
        write_image(tmp_path / "folder.png", np.zeros((2, 2), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_other_formats_are_not_decoded(tmp_path):
    """Pillow starts another program for some."""
    for kind in ("GIF", "TIFF", "BMP", "ICO"):
        Image.new("RGB", (16, 16)).save(tmp_path / "a.png", kind)
        with pytest.raises(UserError, match=r"a\.png: not an image that can be read; give PNG or JPEG"):
            read_rgb(tmp_path / "a.png")


def test_more_than_eight_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "a.png")
    for read in (read_rgb, read_grey):
        with pytest.raises(UserError, match=r"a\.png: has pixels of type I;16"):
            read(tmp_path / "a.png")


def test_labels_are_numbers_of_one_channel(tmp_path):
    labels = np.array([[0, 6], [3, 1]], np.uint8)
    write_image(tmp_path / "a.png", labels)
    assert np.array_equal(read_labels(tmp_path / "a.png", 6), labels)
    with pytest.raises(UserError, match="holds label 6, labels go up to 5"):
        read_labels(tmp_path / "a.png", 5)
    Image.fromarray(labels, "L").convert("P").save(tmp_path / "a.png")
    with pytest.raises(UserError, match="pixels of type P"):
        read_labels(tmp_path / "a.png", 6)


@pytest.mark.parametrize(("whole", "reduced"), [(48, 32), (60, 32), (64, 32), (59, 51)])
def test_a_smaller_picture_stays_in_its_place(whole, reduced):
    """A slope of 4 levels a pixel, whose mean over an area is that in its middle."""
    slope = np.tile((4 * np.arange(whole)).astype(np.uint8), (whole, 1))
    expected = 4 * ((np.arange(reduced) + 0.5) * whole / reduced - 0.5)
    inside = slice(2, -2)
    for picture, truth in ((slope, expected), (slope[:, ::-1], expected[::-1])):
        error = shrink(picture, reduced) - truth
        assert np.abs(error[:, inside]).max() < 1
        assert abs(error[:, inside].mean()) < 0.2
    assert np.array_equal(shrink(slope.T, reduced), shrink(slope, reduced).T)
