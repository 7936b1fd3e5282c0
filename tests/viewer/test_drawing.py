"""Where a picture stands in a window, and which of its pixels a click means."""

import numpy as np
import pytest
from PIL import Image

from partnerface.viewer.drawing import Frame


@pytest.mark.parametrize(
    ("window", "aspect", "box"),
    [
        ((800, 400), 1.0, (200, 0, 600, 400)),
        ((800, 400), 4.0, (0, 100, 800, 300)),
        ((400, 800), 1.0, (0, 0, 400, 400)),  # above the controls of a phone
    ],
)
def test_a_click_means_the_pixel_that_is_shown_there(
    window: tuple[int, int], aspect: float, box: tuple[int, int, int, int]
) -> None:
    frame = Frame.around(*window, aspect)
    assert frame.box == box
    size = (round(8 * aspect), 8)
    # Each pixel has a colour of its own, and stays flat when it is enlarged by whole numbers.
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(size[0]), np.arange(size[1])[:, None]
    image[..., 2] = 255
    enlarged = Image.fromarray(image).resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST)
    canvas = Image.new("RGB", window)
    canvas.paste(enlarged, box[:2])
    for x in range(0, window[0], 37):
        for y in range(0, window[1], 37):
            shown = canvas.getpixel((x, y))
            place = (x + 0.5) / window[0], (y + 0.5) / window[1]
            assert frame.pixel(place, size) == (shown[:2] if shown[2] else None)
