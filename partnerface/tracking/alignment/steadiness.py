"""Poses of a head at rest without the noise of measuring each frame by itself; motion is left as it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle
from scipy.linalg import solveh_banded
from scipy.ndimage import uniform_filter1d

from partnerface.head_models.head_parameters import HeadParameters

SLOWEST_FPS = 15.0
"""Frames per second below which a nod looks like noise, and nothing is smoothed."""

WINDOW_S = 1.0
"""Time over which changes are compared with the noise."""

MOST_CHANGE = 1.6
"""Mean square of the changes that smoothing may make, in mean squares of the noise, which vary by a
sixth from second to second."""

REST_DEGREES, REST_M = 0.15, 0.0012
"""Deviation from the mean of a window (root of the summed variances of the axes) up to which a head is at
rest: in noisy pictures smaller motion cannot be told from what the frames' errors share, which no higher
difference shows."""

PENALTY_LADDER = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""Penalties that are tried, as shares of the one that averages over `MEAN_S`."""

DIFFERENCE = (1.0, -2.0, 1.0)

MEAN_S = 1.0
"""Time over which poses are averaged under a penalty of 1, about; under 100 it is three times as long."""

PAUSE = 3.0
"""Usual intervals between frames from which nothing is smoothed across."""

LEAST_FRAMES = 12
NOISY = 0.03
"""`picture_noise` above which poses are smoothed. Below it a frame by itself measures them well enough, and
what looks like noise may be motion; four clips have less than 0.004, a dark and noisy one 0.08."""
NOISE_PAIRS = 16
"""Neighbouring frames, spread over the clip, that are compared."""
QUIET = 0.25
"""Share of the windows, the quietest, that set the level of the noise: others may hold quick motion."""


def picture_noise(luminance: torch.Tensor) -> float:
    """Noise of pictures ``[T, H, W]`` uint8 as a share of their brightness, by what stands still in them."""
    before = torch.linspace(0, len(luminance) - 2, min(NOISE_PAIRS, len(luminance) - 1)).long()
    change = (luminance[before + 1].float() - luminance[before].float()).abs().median()
    # The median of the absolute difference of two numbers with normal noise is 0.954 standard deviations.
    return float(change) / 0.954 / max(float(luminance[before].float().mean()), 1.0)


def steady_poses(head: HeadParameters, frame_weights: torch.Tensor, times: np.ndarray) -> HeadParameters:
    """Smooth the rigid poses of T frames where the head is at rest.

    Frames are measured one by one, so that noise in dark pictures turns the head from frame to frame. Noise
    is white and a head moves at a few hertz, so sixth differences of the poses in quiet moments tell how
    large it is. A
    Whittaker smoother (Eilers 2003) takes it out: around each frame with the greatest penalty on
    accelerations that changes the poses by no more than the noise (the discrepancy principle of Morozov), or,
    where the head is at rest, by no more than they vary there.

    Args:
        head: ``T`` heads.
        frame_weights: ``[T]``; frames of weight 0 are not measured: they keep their poses.
        times: ``[T]`` seconds within which motion is smooth.
    """
    used = frame_weights.numpy() > 0
    if used.sum() < LEAST_FRAMES or np.median(np.diff(times)) > 1 / SLOWEST_FPS:
        return head
    mean = torch.linalg.svd(head.rotation[torch.from_numpy(used)].mean(0))
    reference = mean.U @ mean.Vh
    turned = matrix_to_axis_angle(head.rotation @ reference.T)
    turn, shift = (
        torch.from_numpy(smooth_at_rest(values.double().numpy(), used, times, rest)).to(values)
        for values, rest in ((turned, np.radians(REST_DEGREES)), (head.translation, REST_M))
    )
    kept = torch.from_numpy(used)[:, None]
    return replace(
        head,
        rotation=torch.where(kept[..., None], axis_angle_to_matrix(turn) @ reference, head.rotation),
        translation=torch.where(kept, shift, head.translation),
    )


def smooth_at_rest(values: np.ndarray, used: np.ndarray, times: np.ndarray, rest: float) -> np.ndarray:
    """``[T, n]`` values without their noise; ``used`` ``[T]`` bool, ``times`` ``[T]`` in seconds.

    ``rest`` is the deviation up to which values are at rest.
    """
    steps = np.diff(times)
    interval = float(np.median(steps))
    steady = (steps < PAUSE * interval) & used[1:] & used[:-1]
    whole = steady[1:] & steady[:-1]
    window = max(3, round(WINDOW_S / interval))
    sixth = np.diff(values, 6, axis=0)[np.lib.stride_tricks.sliding_window_view(whole, 5).all(1)]
    if len(sixth) < window:
        return values
    # 924 is the sum of the squared coefficients of the difference.
    energies = np.convolve((sixth**2).sum(1), np.ones(window) / window, "valid") / 924
    noise = float(np.quantile(energies, QUIET))
    weight = uniform_filter1d(used.astype(float), window).clip(1e-6)

    def window_mean(of: np.ndarray) -> np.ndarray:
        return uniform_filter1d(of * used[:, None], window, axis=0) / weight[:, None]

    centred = values - values[used].mean(0)
    variance = (window_mean(centred**2) - window_mean(centred) ** 2).sum(1)
    most_change = np.maximum(MOST_CHANGE * noise, rest**2 * (variance <= rest**2))
    penalty = np.zeros(len(values))
    for share in PENALTY_LADDER:
        tried = share * (MEAN_S / interval / 8**0.5) ** 4
        change = window_mean((_smoothed(values, used, whole * tried) - values) ** 2).sum(1)
        penalty = np.where(change <= most_change, tried, penalty)
    return _smoothed(values, used, whole * penalty[1:-1])


def _smoothed(values: np.ndarray, used: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Minimum of the squared changes of ``[T, n]`` and squared second differences times ``[T - 2]``."""
    weights = np.where(used, 1.0, 1e-6)
    # Rows are the diagonals of the symmetric matrix, the main one last.
    bands = np.zeros((3, len(values)))
    bands[2] = weights
    for row, column in combinations_with_replacement(range(3), 2):
        places = slice(column, column + len(penalty))
        bands[2 - (column - row), places] += DIFFERENCE[row] * DIFFERENCE[column] * penalty
    return solveh_banded(bands, weights[:, None] * values)
