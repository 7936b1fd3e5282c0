"""The multiresolution hash grid in plain torch: the slow twin of the kernel, differentiable by autograd."""

import torch
from torch import Tensor

MASK = 2**32 - 1


def hash_grid_features(positions: Tensor, tables: Tensor, resolutions: list[int]) -> Tensor:
    """Features ``[N, L * C]`` of positions ``[N, 3]`` from tables ``[L, T, C]`` (Mueller et al. 2022)."""
    features = []
    for table, resolution in zip(tables, resolutions, strict=True):
        scaled = positions * resolution
        low = scaled.detach().floor().long().clamp(0, resolution - 1)
        fraction = scaled - low
        total = 0.0
        for x in (0, 1):
            for y in (0, 1):
                for z in (0, 1):
                    corner = torch.tensor([x, y, z])
                    weight = torch.where(corner == 1, fraction, 1 - fraction).prod(1)
                    total = total + weight[:, None] * table[_entry(low + corner, resolution, len(table))]
        features.append(total)
    return torch.cat(features, 1)


def _entry(corner: Tensor, resolution: int, size: int) -> Tensor:
    x, y, z = corner.unbind(1)
    if (resolution + 1) ** 3 <= size:
        return x + (resolution + 1) * (y + (resolution + 1) * z)
    return (x ^ (y * 2654435761 & MASK) ^ (z * 805459861 & MASK)) % size
