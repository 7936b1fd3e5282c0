"""What every `Driver` must hold.

Inherit `DriverContract` in a class named ``Test...``, override ``make`` to build yours over a short
performance and run pytest on the file. Override ``neutral`` if the performance has a neutral frame.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from partnerface.data.drivers.driver import Driver
from partnerface.data.view import View


class DriverContract:
    """Override ``make``."""

    def make(self) -> Driver:
        """A driver of a few views."""
        raise NotImplementedError("override make")

    def neutral(self) -> tuple[int, Tensor] | None:
        """Number of a view in which the performer is neutral, and the avatar's neutral expression ``[E]``.

        None if there is none.
        """
        return None

    @pytest.fixture
    def driver(self) -> Driver:
        return self.make()

    def test_it_yields_as_many_views_as_it_says_one_frame_each(self, driver):
        assert len(driver) >= 1
        views = list(DataLoader(driver, batch_size=None))
        assert len(views) == len(driver)
        for view in views:
            assert isinstance(view, View)
            assert len(view) == 1
        with pytest.raises(IndexError):
            driver[len(driver)]

    def test_views_per_second_are_positive(self, driver):
        assert 0 < driver.fps < float("inf")

    def test_a_view_is_the_same_whenever_it_is_asked_for(self, driver):
        last = len(driver) - 1
        first, expected = driver[0], driver[last]
        for found, wanted in ((driver[last], expected), (driver[0], first)):
            assert torch.equal(found.head.expression, wanted.head.expression)
            assert torch.equal(found.head.rotation, wanted.head.rotation)
            assert torch.equal(found.camera.camera_to_world, wanted.camera.camera_to_world)

    def test_all_views_show_one_person_at_one_size(self, driver):
        views = [driver[place] for place in range(len(driver))]
        for view in views:
            assert torch.equal(view.head.identity, views[0].head.identity)
            assert view.head.expression.shape == views[0].head.expression.shape
            assert view.head.joint_rotations.shape == views[0].head.joint_rotations.shape
            assert (view.camera.width, view.camera.height) == (
                views[0].camera.width,
                views[0].camera.height,
            )
            assert (view.head.torso_rotation is None) == (views[0].head.torso_rotation is None)

    def test_views_are_finite_and_rotations_are_rotations(self, driver):
        for place in range(len(driver)):
            view = driver[place]
            tensors = [*vars(view.head).values(), view.camera.intrinsics, view.camera.camera_to_world]
            assert all(t is None or t.isfinite().all() for t in [*tensors, view.torso_motion])
            rotations = [view.head.rotation, view.camera.camera_to_world[..., :3], view.head.joint_rotations]
            for rotation in rotations:
                eye = torch.eye(3).expand_as(rotation)
                torch.testing.assert_close(rotation @ rotation.mT, eye, atol=1e-4, rtol=0)
                assert (torch.linalg.det(rotation) > 0).all()

    def test_neutral_maps_to_neutral(self, driver):
        known = self.neutral()
        if known is None:
            pytest.skip("the performance has no known neutral frame")
        place, expression = known
        torch.testing.assert_close(driver[place].head.expression[0], expression, atol=1e-5, rtol=0)
