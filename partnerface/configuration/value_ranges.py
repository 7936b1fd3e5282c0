"""Ranges of numbers that belong to classes of torch and Lightning; ours have theirs in their signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from partnerface.errors import UserError

RANGES: dict[str, tuple[float, float]] = {
    "seed_everything": (0, 2**32 - 1),
    "trainer.val_check_interval": (1e-6, 1e12),
    "trainer.check_val_every_n_epoch": (1, 1e9),
    "model.optimizer.init_args.lr": (0, 100),
    "model.optimizer.init_args.betas": (0, 0.999_999),
    "model.optimizer.init_args.eps": (0, 1),
    "model.optimizer.init_args.weight_decay": (0, 1000),
}
"""Values outside would fail in the middle of a run. Classes of ours say `compute.ranges.Between`."""


def check_ranges(configuration: Mapping[str, Any]) -> None:
    """Make sure that the numbers of `RANGES`, alone or in a list, lie in their ranges.

    Args:
        configuration: nested tables, as parsed; keys may be missing.

    Raises:
        UserError: one does not; the message names its flag.
    """
    for key, (low, high) in RANGES.items():
        found: Any = configuration
        for name in key.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        for value in found if isinstance(found, list | tuple) else [found]:
            if type(value) in (int, float) and not low <= value <= high:
                raise UserError(f"--{key}: {value} is not between {low:g} and {high:g}")
