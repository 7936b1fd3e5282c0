"""Drivers: a performance is views, one after another."""

import pytest
import torch

from partnerface.data.drivers.driver import Driver, OwnFrames
from tests.views import random_view, tensors_of


def test_own_frames_are_the_videos_frames_in_the_order_given():
    views = random_view(5)
    driver = OwnFrames(views, [4, 0, 4], fps=25.0)
    assert (len(driver), driver.fps) == (3, 25.0)
    for place, frame in enumerate([4, 0, 4]):
        shown = driver[place]
        assert len(shown) == 1
        assert (shown.camera.width, shown.camera.height) == (views.camera.width, views.camera.height)
        for name, value in tensors_of(views).items():
            expected = value if name == "identity" else value[[frame]]
            assert torch.equal(tensors_of(shown)[name], expected), name


def test_a_performance_ends():
    with pytest.raises(IndexError):
        OwnFrames(random_view(2), [1], fps=25.0)[1]


def test_the_interface_itself_drives_nothing():
    with pytest.raises(TypeError, match="abstract class Driver"):
        Driver()
