"""Value noise and smooth steps: the two functions that procedural appearance is made of."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

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
