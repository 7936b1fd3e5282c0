"""Fixed encodings: frequencies of positions (NeRF, Mildenhall et al. 2020, eq. 4), spherical harmonics."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frequency_encoding(positions: Tensor, frequencies: int) -> Tensor:
    """Positions ``[N, 3]`` in [0, 1] as ``[N, 3 + 6 * frequencies]``: x - 1/2, sin and cos of 2^k 2 pi x."""
    scales = 2 * math.pi * 2.0 ** torch.arange(frequencies, device=positions.device)
    angles = (positions[:, :, None] * scales).flatten(1)
    return torch.cat([positions - 0.5, angles.sin(), angles.cos()], 1)


def frequency_window(frequencies: int, reach: float) -> Tensor:
    """Factors ``[3 + 6 * frequencies]`` that let the octaves of `frequency_encoding` in from coarse to fine.

    Octave k opens with a raised cosine while ``reach`` goes from k to k + 1, from 0 (the position alone) to
    ``frequencies`` (BARF, Lin et al. 2021, eq. 14; Nerfies, Park et al. 2021, eq. 8).
    """
    opening = (reach - torch.arange(frequencies)).clamp(0, 1)
    return torch.cat([torch.ones(3), (0.5 * (1 - torch.cos(math.pi * opening))).repeat(6)])


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics of degree 0 to 3 of unit vectors ``[N, 3]`` as ``[N, 16]``."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        [
            torch.full_like(x, 0.28209479),
            0.48860251 * y,
            0.48860251 * z,
            0.48860251 * x,
            1.09254843 * x * y,
            1.09254843 * y * z,
            0.31539157 * (3 * zz - 1),
            1.09254843 * x * z,
            0.54627422 * (xx - yy),
            0.59004359 * y * (3 * xx - yy),
            2.89061144 * x * y * z,
            0.45704579 * y * (5 * zz - 1),
            0.37317633 * z * (5 * zz - 3),
            0.45704579 * x * (5 * zz - 1),
            1.44530572 * z * (xx - yy),
            0.59004359 * x * (xx - 3 * yy),
        ],
        -1,
    )
