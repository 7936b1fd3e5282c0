"""Paths of cameras against closed forms and scipy's rotations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import random_rotations
from scipy.spatial.transform import Rotation, Slerp

from partnerface.cameras.paths import interpolated, looking_at, moved_around, orbit
from partnerface.cameras.pinhole import Camera
from partnerface.errors import UserError

TARGET = torch.tensor([0.3, -0.2, -1.1])


def random_cameras(count: int, seed: int = 0) -> Camera:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pose = torch.cat([random_rotations(count), torch.randn(count, 3, 1)], 2)
        intrinsics = torch.tensor([100.0, 110.0, 32.0, 24.0]) + torch.rand(count, 4)
    return Camera(intrinsics, pose, 64, 48)


def test_the_target_lies_on_the_axis_and_the_horizon_is_level() -> None:
    cameras = looking_at(random_cameras(20), TARGET)
    pixels, depth = cameras.project(TARGET.expand(20, 1, 3))
    torch.testing.assert_close(pixels[:, 0], cameras.intrinsics[:, 2:], atol=1e-3, rtol=0)
    distance = (TARGET - cameras.camera_to_world[..., 3]).norm(dim=-1)
    torch.testing.assert_close(depth[:, 0], distance)
    rotation = cameras.camera_to_world[..., :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    assert (torch.linalg.det(rotation) > 0).all()
    # x is level, and what is higher in the world is higher in the picture.
    assert rotation[:, 1, 0].abs().max() < 1e-6
    assert (rotation[:, 1, 1] < 0).all()


def test_a_camera_that_looks_at_its_target_upright_stays() -> None:
    camera = Camera.static(1, 100, 64, 48)
    found = looking_at(camera, torch.tensor([0.0, 0.0, -2.0]))
    torch.testing.assert_close(found.camera_to_world, camera.camera_to_world)


def test_straight_above_no_way_is_up() -> None:
    camera = Camera.static(1, 100, 64, 48)
    with pytest.raises(UserError, match="straight above or below"):
        looking_at(camera, torch.tensor([0.0, 3.0, 0.0]))


def test_around_a_point_the_point_stays_in_the_picture() -> None:
    camera = random_cameras(1)
    angles = torch.linspace(-170, 170, 9)
    moved = moved_around(camera, TARGET, angles, angles.flip(0) / 3)
    pixels, depth = moved.project(TARGET.expand(9, 1, 3))
    expected, expected_depth = camera.project(TARGET[None, None])
    torch.testing.assert_close(pixels, expected.expand_as(pixels), atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(depth, expected_depth.expand_as(depth), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "up", "centre"),
    [
        (90.0, 0.0, (2.0, 0.0, -2.0)),
        (-90.0, 0.0, (-2.0, 0.0, -2.0)),
        (0.0, 90.0, (0.0, 2.0, -2.0)),
        (30.0, 0.0, (2 * 0.5, 0.0, -2 + 2 * 3**0.5 / 2)),
        (180.0, 0.0, (0.0, 0.0, -4.0)),
        (90.0, 30.0, (3**0.5, 1.0, -2.0)),
    ],
)
def test_places_around_a_point_two_metres_ahead(side: float, up: float, centre: tuple) -> None:
    """The camera of a video: right is +x of the world, the subject's left."""
    camera = Camera.static(1, 100, 64, 48)
    target = torch.tensor([0.0, 0.0, -2.0])
    moved = moved_around(camera, target, torch.tensor([side]), torch.tensor([up]))
    torch.testing.assert_close(moved.camera_to_world[0, :, 3], torch.tensor(centre), atol=1e-6, rtol=0)


def test_an_orbit_starts_at_the_camera_and_reaches_its_angles() -> None:
    camera = Camera.static(1, 100, 64, 48)
    target = torch.tensor([0.0, 0.0, -2.0])
    path = orbit(camera, target, frames=48, side=30, up=12)
    assert len(path) == 48
    torch.testing.assert_close(path.camera_to_world[:1], camera.camera_to_world)
    seen = path.camera_to_world[..., 3] - target
    side = torch.atan2(seen[:, 0], seen[:, 2]).rad2deg()
    up = torch.asin(seen[:, 1] / 2).rad2deg()
    assert [round(float(v), 3) for v in (side.min(), side.max())] == [-30, 30]
    assert [round(float(v), 3) for v in (up.min(), up.max())] == [-12, 12]
    steps = torch.cat([seen, seen[:1]]).diff(dim=0).norm(dim=-1)
    # Closed: the step from the last to the first is no longer than the others.
    assert steps[-1] <= steps.max() * 1.0001


def test_between_cameras_as_scipy_turns_them() -> None:
    cameras = random_cameras(4, seed=3)
    found = interpolated(cameras, 31)
    rotations = Rotation.from_matrix(cameras.camera_to_world[..., :3].double().numpy())
    places = np.linspace(0, 3, 31)
    expected = Slerp(np.arange(4), rotations)(places).as_matrix()
    np.testing.assert_allclose(found.camera_to_world[..., :3].numpy(), expected, atol=2e-5)
    for k, values in enumerate(cameras.camera_to_world[..., 3].T.numpy()):
        np.testing.assert_allclose(
            found.camera_to_world[:, k, 3].numpy(), np.interp(places, np.arange(4), values), atol=1e-5
        )
    torch.testing.assert_close(found.camera_to_world[::10], cameras.camera_to_world, atol=2e-5, rtol=0)
    torch.testing.assert_close(found.intrinsics[::10], cameras.intrinsics)


def test_between_equal_cameras_nothing_moves() -> None:
    """At the identity the axis of the turn is no direction at all."""
    same = random_cameras(1).select([0, 0])
    found = interpolated(same, 5)
    torch.testing.assert_close(found.camera_to_world, same.camera_to_world[:1].expand(5, -1, -1))


@pytest.mark.parametrize("frames", [1, 7])
def test_along_one_camera_all_frames_are_it(frames: int) -> None:
    camera = random_cameras(1)
    found = interpolated(camera, frames)
    assert len(found) == frames
    torch.testing.assert_close(found.camera_to_world, camera.camera_to_world.expand(frames, -1, -1))


def test_no_camera_and_no_frame_are_refused() -> None:
    camera = random_cameras(1)
    with pytest.raises(UserError, match="0 cameras"):
        interpolated(camera.select([]), 3)
    with pytest.raises(UserError, match="0 frames"):
        interpolated(replace(camera), 0)
