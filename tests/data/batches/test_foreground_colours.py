from dataclasses import replace

import numpy as np
import pytest

from partnerface.data.batches.foreground_colours import RADII, TINY, foreground_colours
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named

SIDE = 48


def disc(softness: float) -> np.ndarray:
    """``[SIDE, SIDE]`` share of a disc with a rim of ``softness`` pixels."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(x - 23.7, y - 24.4)
    return np.clip((15 - distance) / softness + 0.5, 0, 1)


def colour_ramp(low: tuple[float, float, float], high: tuple[float, float, float]) -> np.ndarray:
    """``[SIDE, SIDE, 3]`` in [0, 1], changing from left to right."""
    share = np.linspace(0, 1, SIDE)[None, :, None]
    return np.broadcast_to((1 - share) * np.array(low) + share * np.array(high), (SIDE, SIDE, 3))


def as_bytes(values: np.ndarray) -> np.ndarray:
    return (values * 255).round().astype(np.uint8)


@pytest.mark.parametrize("softness", [1.5, 4.0, 8.0])
def test_a_known_person_is_taken_off_a_known_wall(softness):
    """The picture over white is that of the true colours, not of what the camera mixed in."""
    alpha = disc(softness)[..., None]
    person = colour_ramp((0.1, 0.05, 0.05), (0.3, 0.2, 0.1))
    wall = colour_ramp((0.6, 0.7, 0.8), (0.9, 0.8, 0.7))
    image, matte = as_bytes(alpha * person + (1 - alpha) * wall), as_bytes(alpha[..., 0])
    rim = (matte > 0) & (matte < 255)

    def error(colours: np.ndarray) -> float:
        over_white = alpha * colours / 255 + 1 - alpha
        return float(np.abs(over_white - (alpha * person + 1 - alpha))[rim].mean())

    assert error(foreground_colours(image, matte)) < 0.2 * error(image)


@pytest.mark.parametrize(("name", "gain"), [("a", 12), ("b", 9)])
def test_the_embedded_subject_before_its_wall_is_the_one_before_a_white_wall(anny, name, gain):
    subject = subject_named(name)
    white = replace(subject, background=((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
    seen, true = (SubjectRenderer(anny, s, 240, 128, 0).render(5) for s in (subject, white))
    rim = (seen.matte > 0) & (seen.matte < 255)
    alpha = seen.matte[rim, None] / 255

    def decibels(image: np.ndarray) -> float:
        over_white = alpha * image[rim] / 255 + 1 - alpha
        return -10 * np.log10(np.square(over_white - true.image[rim] / 255).mean())

    assert decibels(foreground_colours(seen.image, seen.matte)) > decibels(seen.image) + gain


def test_colours_that_never_change_come_back_exactly():
    alpha = disc(3.0)[..., None]
    image = as_bytes(alpha * np.array([0.8, 0.2, 0.4]) + (1 - alpha) * np.array([0.0, 1.0, 0.6]))
    found = foreground_colours(image, as_bytes(alpha[..., 0]))
    seen = alpha[..., 0] > 0.05
    assert np.abs(found[seen].astype(int) - [204, 51, 102]).max() <= 3


def test_one_round_is_the_formula_of_the_paper(monkeypatch):
    """Blur fusion, pixel by pixel and window by window, at the corners of the frame too."""
    monkeypatch.setattr("partnerface.data.batches.foreground_colours.RADII", (2,))
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    matte = generator.choice(np.array([0, 40, 128, 200, 255], np.uint8), (7, 9))
    found = foreground_colours(image, matte)
    colours, alpha = image / 255, matte[..., None] / 255
    for y, x in np.ndindex(7, 9):
        window = slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3)
        c, a = colours[window], alpha[window]
        person = (c * a).sum((0, 1)) / (a.sum() + TINY)
        behind = (c * (1 - a)).sum((0, 1)) / ((1 - a).sum() + TINY)
        share = alpha[y, x]
        expected = person + share * (colours[y, x] - share * person - (1 - share) * behind)
        if 0 < matte[y, x] < 255:
            assert np.abs(found[y, x] - 255 * expected.clip(0, 1)).max() <= 0.51
        else:
            assert (found[y, x] == image[y, x]).all()


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_to_take_out(value):
    image = np.random.default_rng(1).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    assert (foreground_colours(image, np.full((5, 4), value, np.uint8)) == image).all()


def test_a_matte_without_an_opaque_pixel_and_a_frame_smaller_than_the_windows():
    assert max(RADII) > 3
    image = np.full((3, 3, 3), 90, np.uint8)
    assert np.abs(foreground_colours(image, np.full((3, 3), 7, np.uint8)).astype(int) - 90).max() <= 1
