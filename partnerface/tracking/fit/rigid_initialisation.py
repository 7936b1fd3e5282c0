"""Head poses to start the fit from: Procrustes alignment of the landmarks, frame by frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def similarity_alignment(source: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least-squares similarity transforms from one point set onto many (Umeyama 1991).

    Args:
        source: ``[K, 3]``.
        targets: ``[F, K, 3]``.

    Returns:
        Rotation ``[F, 3, 3]``, scale ``[F]`` and offset ``[F, 3]`` with
        ``targets ~ scale * rotation @ source + offset``. The rotation is proper.
    """
    source_mean, target_mean = source.mean(0), targets.mean(1)
    centred = source - source_mean
    u, singular, vh = torch.linalg.svd((targets - target_mean[:, None]).transpose(1, 2) @ centred)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.det(u @ vh)
    rotation = u @ torch.diag_embed(sign) @ vh
    scale = (singular * sign).sum(1) / centred.square().sum()
    return rotation, scale, target_mean - scale[:, None] * (rotation @ source_mean)


def initial_poses(
    landmarks: Tensor, template: Tensor, focal: float, centre: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Head poses before the camera at the origin (world y up, looking along -z).

    Args:
        landmarks: ``[F, K, 3]`` detected landmarks in pixels, depth scaled like x.
        template: ``[K, 3]`` the same landmarks on the mean head, metres.
        focal: focal length in pixels.
        centre: principal point in pixels.

    Returns:
        Rotation ``[F, 3, 3]`` and translation ``[F, 3]`` in metres, in double precision.
    """
    flipped = landmarks.double() * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    template = template.double()
    rotation, scale, _ = similarity_alignment(template, flipped)
    # Scaled orthography and perspective agree at the landmarks' centroid.
    centred = flipped.mean(1)[:, :2] - torch.tensor([centre[0], -centre[1]], dtype=torch.float64)
    centroid = torch.cat([centred / scale[:, None], -(focal / scale)[:, None]], 1)
    return rotation, centroid - rotation @ template.mean(0)


def interpolate_missing(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Fill the frames of ``values`` ``[T, ...]`` that are not valid, linearly in time; ends are held."""
    frames = np.arange(len(values))
    flat = values.reshape(len(values), -1)
    filled = [np.interp(frames, frames[valid], column[valid]) for column in flat.T]
    return np.stack(filled, 1).reshape(values.shape).astype(values.dtype)
