"""Learning-rate schedule: a short linear warm-up, then a cosine over the share of training done."""

from __future__ import annotations

import math


def cosine_factor(progress: float, warm_up: float = 0.02, final: float = 0.05) -> float:
    """Factor of the learning rate.

    Args:
        progress: share of training that is done, in [0, 1] (of the steps or of the time budget).
        warm_up: share of training over which the rate rises linearly.
        final: factor at the end.

    >>> [round(cosine_factor(p, warm_up=0.0, final=0.0), 3) for p in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    angle = math.pi * (progress - warm_up) / max(1.0 - warm_up, 1e-9)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(angle))
