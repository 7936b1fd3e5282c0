"""Schedules of the deformation over the share of training that is done; they depend on nothing else."""

from __future__ import annotations

import math

SETTLED = 0.5
"""Share of training after which a schedule has reached its end: the rest trains what will be rendered."""


def settled_share(progress: float) -> float:
    """Share of a schedule that is done, in [0, 1].

    >>> [settled_share(p) for p in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return min(max(progress / SETTLED, 0.0), 1.0)


def annealing_factor(start: float, end: float, progress: float) -> float:
    """Ratio of a value that goes from ``start`` to ``end`` in equal ratios to its end.

    >>> [annealing_factor(4.0, 1.0, p) for p in (0.0, 0.25, 0.5, 1.0)]
    [4.0, 2.0, 1.0, 1.0]
    """
    return math.exp((1 - settled_share(progress)) * math.log(start / end))
