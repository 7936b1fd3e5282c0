"""The runs of a sweep: every combination of a grid, or combinations at random."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

from partnerface.errors import UserError
from partnerface.runs.run_folder import parameter_digest
from partnerface.sweeps.sweep_file import Sweep

DRAWS_A_RUN = 100
"""Draws after which a random sweep of few combinations is taken to have met them all."""


def combinations(sweep: Sweep, count: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Parameters of each run, no two alike.

    Args:
        sweep: what to combine.
        count: most runs; the sweep's own cap holds as well. A larger count later keeps the first ones.
        seed: of the random method.

    Raises:
        UserError: a random sweep without an end.
    """
    limits = [limit for limit in (count, sweep.run_cap) if limit is not None]
    if sweep.method == "grid":
        drawn = _grid(sweep)
        limit = min([len(drawn), *limits])
    else:
        if not limits:
            raise UserError("method random goes on for ever: say how many runs with --count")
        limit = min(limits)
        drawn = _random(sweep, limit, seed)
    return drawn[:limit]


def _grid(sweep: Sweep) -> list[dict[str, Any]]:
    names = [choice.name for choice in sweep.parameters]
    rows = [
        dict(zip(names, row, strict=True))
        for row in itertools.product(*(c.options for c in sweep.parameters))
    ]
    return list({parameter_digest(row): row for row in rows}.values())


def _random(sweep: Sweep, count: int, seed: int) -> list[dict[str, Any]]:
    generator = Random(seed)
    found: dict[str, dict[str, Any]] = {}
    for _ in range(DRAWS_A_RUN * count):
        drawn = {choice.name: choice.draw(generator) for choice in sweep.parameters}
        found.setdefault(parameter_digest(drawn), drawn)
        if len(found) == count:
            break
    return list(found.values())
