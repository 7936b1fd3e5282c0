"""Derivatives against finite differences, solutions against numpy's least squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from scipy.ndimage import map_coordinates

from partnerface.cameras.pinhole import Camera
from partnerface.tracking.alignment.pose_step import (
    SAMPLES_PER_INDEPENDENT,
    AlignmentSettings,
    damped_step,
    place_gradient,
    pose_jacobian,
    project_points,
    sample_planes,
    without_static_offset,
)

FRAMES, POINTS = 2, 7
STEP = 1e-6


@pytest.fixture
def scene():
    """Two cameras anywhere, points of a head a metre before them, in double precision."""
    generator = torch.Generator().manual_seed(0)
    camera = Camera.static(FRAMES, 250.0, 128, 96)
    turn = axis_angle_to_matrix(torch.tensor([[0.1, -0.2, 0.05], [-0.3, 0.6, 0.4]]))
    pose = torch.cat(
        [turn @ camera.camera_to_world[:, :, :3], torch.rand(FRAMES, 3, 1, generator=generator)], 2
    )
    camera = replace(camera, camera_to_world=pose).to(torch.float64)
    rotation = axis_angle_to_matrix(torch.randn(FRAMES, 3, generator=generator, dtype=torch.float64))
    translation = camera.camera_to_world[:, :, :3] @ torch.tensor([0.02, -0.03, 1.0], dtype=torch.float64)
    translation = translation + camera.camera_to_world[:, :, 3]
    points = 0.1 * torch.randn(FRAMES, POINTS, 3, generator=generator, dtype=torch.float64)
    return camera, points, rotation, translation


def shown(pixels):
    """A smooth image, ``[T, Q]`` at pixels ``[T, Q, 2]``, and its gradient ``[T, Q, 2]``."""
    x, y = pixels.unbind(-1)
    value = (0.05 * x).sin() * (0.08 * y).cos()
    by_x, by_y = 0.05 * (0.05 * x).cos() * (0.08 * y).cos(), -0.08 * (0.05 * x).sin() * (0.08 * y).sin()
    return value, torch.stack([by_x, by_y], -1)


def value_at(scene, world):
    return shown(scene[0].project(world)[0])[0]


def test_place_gradient_is_the_derivative_by_the_point(scene):
    camera, points, rotation, translation = scene
    world = points @ rotation.transpose(1, 2) + translation[:, None]
    found = place_gradient(camera, shown(camera.project(world)[0])[1], world)
    for axis in range(3):
        step = STEP * torch.eye(3, dtype=torch.float64)[axis]
        difference = (value_at(scene, world + step) - value_at(scene, world - step)) / (2 * STEP)
        torch.testing.assert_close(found[..., axis], difference, atol=1e-6, rtol=1e-6)


def test_pose_jacobian_is_the_derivative_by_rotation_and_translation(scene):
    camera, points, rotation, translation = scene

    def value(pose):
        turned = axis_angle_to_matrix(pose[:3]) @ rotation
        return value_at(scene, points @ turned.transpose(1, 2) + (translation + pose[3:])[:, None])

    world = points @ rotation.transpose(1, 2) + translation[:, None]
    found = pose_jacobian(camera, shown(camera.project(world)[0])[1], world, translation)
    for column in range(6):
        step = STEP * torch.eye(6, dtype=torch.float64)[column]
        difference = (value(step) - value(-step)) / (2 * STEP)
        torch.testing.assert_close(found[..., column], difference, atol=1e-6, rtol=1e-6)


def test_sampling_agrees_with_scipy():
    generator = torch.Generator().manual_seed(1)
    planes = torch.rand(2, 3, 20, 30, generator=generator)
    pixels = 1 + torch.rand(2, 50, 2, generator=generator) * torch.tensor([28.0, 18.0])
    found = sample_planes(planes, pixels)
    for t in range(2):
        for c in range(3):
            # Pixel centres lie at +0.5.
            places = (pixels[t].numpy() - 0.5).T[::-1]
            expected = map_coordinates(planes[t, c].numpy(), places, order=1)
            np.testing.assert_allclose(found[t, :, c].numpy(), expected, atol=1e-4)


def test_points_are_seen_from_the_front_and_inside_the_picture():
    camera = Camera.static(1, 100.0, 100, 100)
    points = torch.tensor([[[0.0, 0.0, -1.0], [0.0, 0.0, -1.0], [0.0, 0.0, -1.0], [2.0, 0.0, -1.0]]])
    sixty = np.deg2rad(60)
    normals = torch.tensor([[[0, 0, 1], [0, 0, -1], [np.sin(sixty), 0, np.cos(sixty)], [0, 0, 1]]]).float()
    pixels, world, visible = project_points(camera, points, normals, torch.eye(3)[None], torch.zeros(1, 3))
    torch.testing.assert_close(pixels[0, 0], torch.tensor([50.0, 50.0]))
    torch.testing.assert_close(world, points)
    # The cosine of 60 degrees, between 0.3 (not seen) and 1 (seen whole).
    torch.testing.assert_close(visible[0], torch.tensor([1.0, 0.0, (0.5 - 0.3) / 0.7, 0.0]))


def test_damped_step_is_the_least_squares_solution_with_its_prior():
    """Rows of measurements, and six rows that hold the pose: numpy's least squares over all of them."""
    rng = np.random.default_rng(0)
    settings = AlignmentSettings(rotation_sigma=0.05, shift_sigma=0.01, depth_sigma=0.03)
    jacobian, residual = rng.normal(size=(40, 6)), rng.normal(size=40)
    moved = np.array([0.02, -0.01, 0.015]), np.array([0.004, 0.002, -0.01])
    deviation = np.array([0.05] * 3 + [0.01] * 2 + [0.03]) / np.sqrt(SAMPLES_PER_INDEPENDENT)
    turned = axis_angle_to_matrix(torch.tensor(moved[0]))[None]
    skew = (turned - turned.transpose(1, 2))[0] / 2
    so_far = np.array([skew[2, 1], skew[0, 2], skew[1, 0], *moved[1]])
    rows = np.concatenate([jacobian, np.diag(1 / deviation)])
    right = np.concatenate([-residual, -so_far / deviation])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0]
    turn, shift = damped_step(
        torch.tensor(jacobian.T @ jacobian)[None],
        torch.tensor(jacobian.T @ residual)[None],
        (turned, torch.tensor(moved[1])[None]),
        settings,
    )
    np.testing.assert_allclose(torch.cat([turn, shift], 1)[0].numpy(), expected, rtol=1e-8)
    # The vector of the skew part is the turn itself but for its cube.
    np.testing.assert_allclose(so_far[:3], moved[0], atol=1e-5)


CLIP_FRAMES = 12


def clip():
    """Cameras, points of a face, and poses of a head that turns."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 3, generator=generator) * torch.tensor([0.06, 0.08, 0.03])
    rotation = axis_angle_to_matrix(0.4 * torch.randn(CLIP_FRAMES, 3, generator=generator))
    translation = torch.tensor([0.0, 0.0, -0.9]) + 0.02 * torch.randn(CLIP_FRAMES, 3, generator=generator)
    return Camera.static(CLIP_FRAMES, 500.0, 256, 256), points, rotation, translation


def test_a_static_motion_of_the_mesh_is_undone():
    camera, points, rotation, translation = clip()
    turn = axis_angle_to_matrix(torch.tensor([0.03, -0.01, 0.02]))
    shift = torch.tensor([0.002, -0.003, 0.004])
    moved = rotation @ turn, translation + rotation @ shift
    held = without_static_offset(camera, points, (rotation, translation), moved, torch.ones(CLIP_FRAMES))
    torch.testing.assert_close(held[0], rotation, atol=2e-5, rtol=0)
    torch.testing.assert_close(held[1], translation, atol=2e-5, rtol=0)


def test_what_differs_from_frame_to_frame_is_kept():
    """Motions that are opposite in every other frame have no static part."""
    camera, points, rotation, translation = clip()
    rotation, translation = rotation[:1].expand(CLIP_FRAMES, 3, 3), translation[:1].expand(CLIP_FRAMES, 3)
    sign = torch.where(torch.arange(CLIP_FRAMES) % 2 == 0, 1.0, -1.0)[:, None]
    moved = rotation, translation + 0.001 * sign * torch.tensor([1.0, 0.5, 0.0])
    held = without_static_offset(camera, points, (rotation, translation), moved, torch.ones(CLIP_FRAMES))
    # Seen from one side only, a small turn looks much like a small shift.
    torch.testing.assert_close(held[0], moved[0], atol=2e-4, rtol=0)
    torch.testing.assert_close(held[1], moved[1], atol=3e-4, rtol=0)


def test_frames_without_a_face_neither_count_nor_move():
    camera, points, rotation, translation = clip()
    weights = torch.ones(CLIP_FRAMES)
    weights[3] = 0
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.02, 0.0]))
    spoilt = translation.clone()
    spoilt[3] += 0.1
    held = without_static_offset(camera, points, (rotation, translation), (rotation @ turn, spoilt), weights)
    torch.testing.assert_close(held[1][3], spoilt[3])
    torch.testing.assert_close(held[0][3], (rotation @ turn)[3])
    others = weights > 0
    torch.testing.assert_close(held[0][others], rotation[others], atol=2e-5, rtol=0)


def test_one_frame_returns_to_its_first_pose():
    camera, points, rotation, translation = clip()
    one = torch.tensor([5])
    first = rotation[one], translation[one]
    moved = rotation[one] @ axis_angle_to_matrix(torch.tensor([0.02, 0.0, 0.0])), translation[one] + 0.002
    held = without_static_offset(camera.select(one), points, first, moved, torch.ones(1))
    torch.testing.assert_close(held[0], first[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(held[1], first[1], atol=1e-4, rtol=0)
