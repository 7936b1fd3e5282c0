"""MovedSamples: samples in canonical space, after the fine motion; what the radiance field is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from partnerface.deformation.deformation import DeformedPoints, dense_part_weights, part_usage


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
    """

    kept: Tensor
    positions: Tensor
    appearance: Tensor | None
    offset_square: Tensor
    part_usage: Tensor
    part_weights: Tensor | None = None


def moved_samples(
    kept: Tensor, positions: Tensor, deformed: DeformedPoints, parts: int, with_parts: bool
) -> MovedSamples:
    """Samples ``kept`` at ``positions`` ``[K, 3]`` in [0, 1], deformed by P parts."""
    return MovedSamples(
        kept,
        positions + deformed.offsets,
        deformed.appearance,
        mean_square(deformed.offsets),
        part_usage(deformed, parts),
        dense_part_weights(deformed, parts) if with_parts else None,
    )


def mean_square(offsets: Tensor) -> Tensor:
    """Mean squared length of offsets ``[K, 3]``, zero where there are none."""
    return offsets.square().sum(1).mean() if len(offsets) else offsets.sum()
