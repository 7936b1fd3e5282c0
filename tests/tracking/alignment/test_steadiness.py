"""Poses with known noise: at rest it goes, in motion nothing is lost."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle
from scipy.ndimage import gaussian_filter1d

from partnerface.head_models.head_model import HeadModel
from partnerface.tracking.alignment.steadiness import _smoothed, picture_noise, steady_poses

FRAMES, FPS = 200, 25.0
TIMES = np.arange(FRAMES) / FPS
NOISE_DEGREES, NOISE_M = 0.1, 0.001
"""Of each axis; measured on a dark and noisy video of a still photo."""


def _head(anny: HeadModel, turn: np.ndarray, seed: int | None):
    """Heads that are turned by ``[T, 3]`` degrees, with noise unless the seed is None."""
    head = anny.neutral_parameters(len(turn))
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, *turn.shape)) * (seed is not None)
    angles = np.radians(turn + NOISE_DEGREES * noise[0])
    head.rotation = axis_angle_to_matrix(torch.from_numpy(angles).float())
    head.translation = torch.from_numpy([0.0, 0, -1] + NOISE_M * noise[1]).float()
    return head


def _degrees(found, truth) -> np.ndarray:
    return torch.rad2deg(matrix_to_axis_angle(found.rotation @ truth.rotation.mT).norm(dim=1)).numpy()


def test_a_head_at_rest_stays_within_a_tenth_of_a_degree(anny):
    rest = np.tile([3.0, 20, 1], (FRAMES, 1))
    noisy, truth = _head(anny, rest, 0), _head(anny, rest, None)
    steady = steady_poses(noisy, torch.ones(FRAMES), TIMES)
    assert _degrees(noisy, truth).max() > 0.3
    assert _degrees(steady, truth).max() < 0.1
    assert (steady.translation - truth.translation).norm(dim=1).max() < 0.0015


@pytest.mark.parametrize("seed", range(3))
def test_errors_that_neighbouring_frames_share_go_too(anny, seed):
    """As measured on a dark and noisy video of a photo: 0.1 degrees that last for several frames."""
    rng = np.random.default_rng(seed)
    slow = gaussian_filter1d(rng.normal(size=(FRAMES, 3)), 1.5, axis=0)
    turn = [3.0, 20, 1] + 0.1 / 3**0.5 * slow / slow.std()
    noisy, truth = _head(anny, turn, None), _head(anny, np.tile([3.0, 20, 1], (FRAMES, 1)), None)
    assert _degrees(noisy, truth).max() > 0.15
    assert _degrees(steady_poses(noisy, torch.ones(FRAMES), TIMES), truth).max() < 0.1


@pytest.mark.parametrize("hertz", [0.5, 1.5, 3])
def test_a_head_that_starts_to_nod_is_followed(anny, hertz):
    """Rest, then nods of 8 degrees to either side; without noise next to nothing changes."""
    moving = np.maximum(TIMES - 3, 0)
    turn = np.stack([8 * np.sin(2 * np.pi * hertz * moving), 0 * TIMES, 0 * TIMES], 1)
    truth, noisy = _head(anny, turn, None), _head(anny, turn, 1)
    steady = steady_poses(noisy, torch.ones(FRAMES), TIMES)
    at_rest, nods = TIMES < 2.4, TIMES > 3.5
    error, before = _degrees(steady, truth), _degrees(noisy, truth)
    assert error[at_rest].max() < 0.1
    assert np.sqrt((error[nods] ** 2).mean()) < 1.05 * np.sqrt((before[nods] ** 2).mean())
    assert error.max() < 1.6 * before.max()
    assert _degrees(steady_poses(truth, torch.ones(FRAMES), TIMES), truth).max() < 0.1


def test_neither_cuts_nor_frames_without_a_face_are_smoothed_across(anny):
    """The head jumps by five degrees where time has a gap, and where frames between have no weight."""
    turn = np.zeros((FRAMES, 3))
    turn[60:], turn[120:] = 5, -5
    turn[115:120] = 40
    times, weights = TIMES.copy(), torch.ones(FRAMES)
    times[60:] += 1
    weights[115:120] = 0
    truth, noisy = _head(anny, turn, None), _head(anny, turn, 2)
    steady = steady_poses(noisy, weights, times)
    measured = weights.numpy() > 0
    assert _degrees(steady, truth)[measured].max() < 0.17
    np.testing.assert_array_equal(steady.rotation[~measured], noisy.rotation[~measured])


def test_the_smoother_is_the_least_squares_solution():
    """Against a dense solution with a penalty for each difference and with frames that are not measured."""
    rng = np.random.default_rng(0)
    values, penalty, used = rng.normal(size=(30, 3)), rng.uniform(0, 100, 28), np.arange(30) != 7
    difference = np.diff(np.eye(30), 2, axis=0)
    weights = np.where(used, 1.0, 1e-6)
    matrix = np.diag(weights) + difference.T @ (penalty[:, None] * difference)
    expected = np.linalg.solve(matrix, weights[:, None] * values)
    np.testing.assert_allclose(_smoothed(values, used, penalty), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("light", "sigma"), [(120, 1), (120, 6), (30, 3)])
def test_noise_of_pictures_is_relative_to_their_light_and_motion_is_none(light, sigma):
    """A ramp with grain, before which a bright square moves over a fifth of the picture."""
    rng = np.random.default_rng(0)
    ramp = light * (1 + 0.5 * np.linspace(-1, 1, 100)) * np.ones((100, 1))
    pictures = ramp + rng.normal(0, sigma, (30, 100, 100))
    for k, picture in enumerate(pictures):
        picture[:40, 2 * k : 2 * k + 30] += 0.4 * light
    found = picture_noise(torch.from_numpy(pictures.clip(0, 255).round()).to(torch.uint8))
    assert found == pytest.approx(sigma / pictures.mean(), rel=0.2, abs=0.002)


def test_few_frames_and_slow_videos_are_left_alone(anny):
    noisy = _head(anny, np.zeros((FRAMES, 3)), 3)
    assert steady_poses(noisy, torch.ones(FRAMES), np.arange(FRAMES) / 10) is noisy
    few = torch.zeros(FRAMES)
    few[:11] = 1
    assert steady_poses(noisy, few, TIMES) is noisy
