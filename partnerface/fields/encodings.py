"""Fixed encodings: frequencies of positions (NeRF, Mildenhall et al. 2020, eq. 4), spherical harmonics."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


def frequency_encoding(positions: Tensor, frequencies: int) -> Tensor:
    """Positions ``[N, 3]`` in [0, 1] as ``[N, 3 + 6 * frequencies]``: x - 1/2, sin and cos of 2^k 2 pi x."""
    angles = (positions[:, :, None] * _frequencies(frequencies, positions.device)).flatten(1)
    return torch.cat([positions - 0.5, angles.sin(), angles.cos()], 1)


@cache
@torch.inference_mode(False)
def _frequencies(count: int, device: torch.device) -> Tensor:
    """``[count]`` 2^k 2 pi; made once a device."""
    return (2 * math.pi * 2.0 ** torch.arange(count)).to(device)


def frequency_window(frequencies: int, reach: float) -> Tensor:
    """Factors ``[3 + 6 * frequencies]`` that let the octaves of `frequency_encoding` in from coarse to fine.

    Octave k opens with a raised cosine while ``reach`` goes from k to k + 1, from 0 (the position alone) to
    ``frequencies`` (BARF, Lin et al. 2021, eq. 14; Nerfies, Park et al. 2021, eq. 8).
    """
    opening = (reach - torch.arange(frequencies)).clamp(0, 1)
    return torch.cat([torch.ones(3), (0.5 * (1 - torch.cos(math.pi * opening))).repeat(6)])


_HARMONICS = """
    0.28209479 1
    0.48860251 y
    0.48860251 z
    0.48860251 x
    1.09254843 xy
    1.09254843 yz
    0.94617469 zz -0.31539157 1
    1.09254843 xz
    0.54627422 xx -0.54627422 yy
    1.77013077 xxy -0.59004359 yyy
    2.89061144 xyz
    2.28522895 yzz -0.45704579 y
    1.86588165 zzz -1.11952899 z
    2.28522895 xzz -0.45704579 x
    1.44530572 xxz -1.44530572 yyz
    0.59004359 xxx -1.77013077 xyy
"""
"""Real spherical harmonics of degree 0 to 3 as polynomials of a unit vector, a line each."""


@cache
@torch.inference_mode(False)
def _harmonics_matrix(device: torch.device, dtype: torch.dtype) -> Tensor:
    """``[64, 16]``: coefficients of `_HARMONICS` at products of three of 1, x, y, z; made once a device."""
    matrix = torch.zeros(4, 4, 4, 16, dtype=dtype)
    for column, line in enumerate(_HARMONICS.split("\n")[1:-1]):
        words = line.split()
        for factor, letters in zip(words[::2], words[1::2], strict=True):
            place = ["1xyz".index(letter) for letter in letters.rjust(3, "1")]
            matrix[*place, column] = float(factor)
    return matrix.view(64, 16).to(device)


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics of degree 0 to 3 of unit vectors ``[N, 3]`` as ``[N, 16]``.

    One product of matrices: written out they would be fifty small operations.
    """
    linear = functional.pad(directions, (1, 0), value=1.0)
    pairs = (linear[:, :, None] * linear[:, None]).flatten(1)
    triples = (pairs[:, :, None] * linear[:, None]).flatten(1)
    return triples @ _harmonics_matrix(directions.device, directions.dtype)
