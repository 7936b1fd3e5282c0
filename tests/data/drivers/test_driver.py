"""Drivers: a performance is views, one after another."""

import pytest
import torch
from torch import Tensor

from partnerface.data.drivers.driver import Driver, OwnFrames
from tests.contracts.driver_contract import DriverContract
from tests.views import random_view, tensors_of


class TestOwnFrames(DriverContract):
    def make(self) -> OwnFrames:
        return OwnFrames(random_view(6), [5, 2, 0, 5], fps=25.0)

    def neutral(self) -> tuple[int, Tensor]:
        """The performer is the avatar's person: an expression stays what it is."""
        return 1, random_view(6).head.expression[2]


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


def test_the_interface_itself_drives_nothing():
    with pytest.raises(TypeError, match="abstract class Driver"):
        Driver()
