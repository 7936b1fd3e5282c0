"""MovedSamples: samples in canonical space, after the fine motion; what the radiance field is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.deformation.deformation import (
    DeformedPoints,
    dense_part_weights,
    part_entropy,
    part_usage,
)

CLOSE = 1e-3
"""Of the cube's side (about 0.4 mm): closer neighbours count as this far apart."""


@dataclass
class MovedSamples:
    """K of a bundle's M * S samples, in canonical space.

    Attributes:
        kept: ``[K]`` which samples.
        positions: ``[K, 3]`` after the fine motion, in [0, 1] of the canonical cube.
        appearance: ``[K, A]`` appearance code, or None.
        offset_square: scalar, mean squared offset of the fine motion in units of the cube's side.
        part_usage: ``[P]`` share of the samples' part weights that each part takes.
        part_weights: ``[K, P]``, or None if not asked for.
        part_entropy: see the function; None where nothing is learned.
        offset_roughness: likewise.
    """

    kept: Tensor
    positions: Tensor
    appearance: Tensor | None
    offset_square: Tensor
    part_usage: Tensor
    part_weights: Tensor | None = None
    part_entropy: Tensor | None = None
    offset_roughness: Tensor | None = None


def moved_samples(
    kept: Tensor, count: int, positions: Tensor, deformed: DeformedPoints, parts: int, with_parts: bool
) -> MovedSamples:
    """Samples ``kept`` of rays of ``count`` at ``positions`` ``[K, 3]`` in [0, 1], deformed by P parts."""
    learning = torch.is_grad_enabled()
    return MovedSamples(
        kept,
        positions + deformed.offsets,
        deformed.appearance,
        mean_square(deformed.offsets),
        part_usage(deformed, parts),
        dense_part_weights(deformed.part_weights, deformed.part_index, parts) if with_parts else None,
        part_entropy(deformed) if learning else None,
        offset_roughness(deformed.offsets, positions, kept, count) if learning else None,
    )


def mean_square(offsets: Tensor) -> Tensor:
    """Mean squared length of offsets ``[K, 3]``, zero where there are none."""
    return offsets.square().sum(1).mean() if len(offsets) else offsets.sum()


def offset_roughness(offsets: Tensor, positions: Tensor, kept: Tensor, count: int) -> Tensor:
    """Mean squared change of the offset per distance, between neighbouring samples of a ray.

    A finite difference that evaluates nothing twice. Neighbours in the world that are far apart in
    canonical space, such as the two lips, hardly count.

    Args:
        offsets: ``[K, 3]`` in units of the cube's side.
        positions: ``[K, 3]`` before the fine motion, likewise.
        kept: ``[K]`` numbers of the samples, rising.
        count: samples per ray.
    """
    neighbours = (kept.diff() == 1) & (kept[1:] % count != 0)
    distance = positions.detach().diff(dim=0).square().sum(1) + CLOSE**2
    change = offsets.diff(dim=0).square().sum(1) / distance
    return (change * neighbours).sum() / neighbours.sum().clamp_min(1)
