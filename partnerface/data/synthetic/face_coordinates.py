"""Face coordinates: where features lie on the head model; noise and smooth steps that are drawn in them."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.landmark_geometry import OUTER_LIPS

SPLINE_STEPS = 4


def face_coordinates(head_model: HeadModel) -> Tensor:
    """``[V, 3]`` template vertices relative to the middle between the eye joints."""
    eyes = [head_model.joint("eye_left"), head_model.joint("eye_right")]
    return head_model.template_vertices - head_model.template_joints[eyes].mean(0)


def lip_outline(head_model: HeadModel) -> Tensor:
    """``[N, 2]`` closed outline of the lips in the frontal plane of face coordinates.

    The detector's points scatter by a millimetre; their mean with the mirrored ring is symmetric.
    """
    outline = landmark_points(head_model, face_coordinates(head_model))[list(OUTER_LIPS), :2]
    mirrored = (len(outline) // 2 - torch.arange(len(outline))) % len(outline)
    outline = 0.5 * (outline + outline[mirrored] * torch.tensor([-1.0, 1.0]))
    # A Catmull-Rom spline through the closed ring.
    t = (torch.arange(SPLINE_STEPS) / SPLINE_STEPS)[None, :, None]
    p0, p1, p2, p3 = (outline.roll(shift, 0)[:, None] for shift in (1, 0, -1, -2))
    cubic = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return (0.5 * (2 * p1 + (p2 - p0) * t + cubic)).reshape(-1, 2)


def signed_distance(points: Tensor, outline: Tensor) -> Tensor:
    """Distance of ``[N, 2]`` points to a closed outline ``[M, 2]``, negative inside; ``[N]``."""
    start, end = outline, outline.roll(-1, 0)
    edge = end - start
    distance = torch.full((len(points),), torch.inf)
    inside = torch.zeros(len(points), dtype=torch.bool)
    for a, b, e in zip(start, end, edge, strict=True):
        offset = points - a
        along = ((offset @ e) / (e @ e)).clamp(0, 1)
        distance = torch.minimum(distance, (offset - along[:, None] * e).norm(dim=1))
        crosses = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        if e[1] != 0:
            inside ^= crosses & (points[:, 0] < a[0] + (points[:, 1] - a[1]) * e[0] / e[1])
    return torch.where(inside, -distance, distance)


TABLE_SIZE = 4096
HASH_PRIMES = (73856093, 19349663, 83492791)


def value_noise(points: Tensor, seed: int) -> Tensor:
    """Band-limited noise: random values at the integer lattice, interpolated with a smooth step.

    Args:
        points: ``[..., 3]``; one lattice cell is one unit.
        seed: another seed is another noise.

    Returns:
        ``[...]`` in [-1, 1]. The lattice is hashed into a table (Teschner et al. 2003).
    """
    generator = torch.Generator().manual_seed(seed)
    table = torch.rand(TABLE_SIZE, generator=generator) * 2 - 1
    corner = torch.floor(points)
    fraction = points - corner
    fraction = fraction * fraction * (3 - 2 * fraction)
    cell = corner.long()
    keys = [[(cell[..., k] + side) * HASH_PRIMES[k] for side in (0, 1)] for k in range(3)]
    weights = [(1 - fraction[..., k], fraction[..., k]) for k in range(3)]
    noise = torch.zeros(points.shape[:-1])
    for i, j, k in product((0, 1), repeat=3):
        key = (keys[0][i] ^ keys[1][j] ^ keys[2][k]).remainder(TABLE_SIZE)
        noise += weights[0][i] * weights[1][j] * weights[2][k] * table[key]
    return noise


def smooth_step(low: float, high: float, value: Tensor) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on, smooth between; ``low > high`` gives the falling step."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
