"""Mattes of pictures on disk against a known alpha, by a network that sees only coarsely."""

import numpy as np
import pytest

from partnerface.data.completion.matte_files import write_mattes
from partnerface.files.images import read_grey, write_image
from tests.data.completion.test_matte_refinement import FRAMES, error, made_clip, wall

TRAIN = list(range(6))


class Coarse:
    """Stands for a network: gives the coarse mattes of the pictures that it is shown."""

    model_sha256, coarse = "", True

    def __init__(self, images, mattes):
        self.known = {image.tobytes(): matte for image, matte in zip(images, mattes, strict=True)}

    def mattes(self, frames):
        return (self.known[frame.tobytes()] for frame in frames)


@pytest.fixture(scope="module")
def clip():
    return made_clip([wall()] * FRAMES)


def made(folder, images, mattes, place=lambda frame: "images"):
    """The mattes that are made of pictures in files."""
    paths = [folder / place(frame) / f"{frame:05d}.png" for frame in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.parent.mkdir(exist_ok=True)
        write_image(path, image)
    written = [folder / "mattes" / path.name for path in paths]
    write_mattes(Coarse(images, mattes), paths, written, TRAIN)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        {path.parent.name for path in paths} | {"mattes"}
    )
    return np.stack([read_grey(path) for path in written])


def test_made_mattes_are_finer_than_the_network(clip, tmp_path):
    images, mattes, truth = clip
    found = made(tmp_path, images, mattes)
    assert found[:, 10:24, 8:22].max() == 0
    outline = (truth > 5) & (truth < 250)
    assert error(found[outline], truth[outline]) < 0.7 * error(mattes[outline], truth[outline])
    assert error(found, truth) < 0.55 * error(mattes, truth)


def test_the_background_of_a_folder_is_that_of_its_training_frames(clip, tmp_path):
    """Test frames before another wall change no training frame, and have it in a folder of their own."""
    images, mattes, truth = clip
    other, _, _ = made_clip([wall(5)] * FRAMES)
    mixed = np.concatenate([images[: len(TRAIN)], other[len(TRAIN) :]])
    for name in ("alike", "mixed", "apart"):
        (tmp_path / name).mkdir()
    alike = made(tmp_path / "alike", images, mattes)
    np.testing.assert_array_equal(made(tmp_path / "mixed", mixed, mattes)[TRAIN], alike[TRAIN])
    apart = made(tmp_path / "apart", mixed, mattes, lambda frame: "train" if frame in TRAIN else "test")
    np.testing.assert_array_equal(apart[TRAIN], alike[TRAIN])
    tested = slice(len(TRAIN), FRAMES)
    assert error(apart[tested], truth[tested]) < 0.6 * error(mattes[tested], truth[tested])
