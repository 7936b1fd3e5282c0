"""The range of a configuration's numbers: beyond it a run would fail in its middle, or fill the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from partnerface.errors import UserError

Range = tuple[float, float]

_POSITIVE, _NOT_NEGATIVE, _SHARE = (1e-12, 1e6), (0, 1e6), (0, 1)
_WIDTH, _FREQUENCIES, _LENGTH_M = (1, 4096), (0, 16), (0, 1)
_NETWORK = {
    **{"hidden_width": _WIDTH, "num_frequencies": _FREQUENCIES},
    **{"appearance_width": (0, 256)},
}
_ADAM = {"lr": (0, 100), "betas": (0, 0.999_999), "eps": (0, 1), "weight_decay": (0, 1000)}
_LOSS = {"weight": _NOT_NEGATIVE, "delta": _POSITIVE}

OF_CLASS: dict[str, dict[str, Range]] = {
    "Avatar": {"warm_up": _SHARE, "driving_noise": (0, 10)},
    "NearestSurface": {"margin": _LENGTH_M},
    "NearestTriangle": {"margin": _LENGTH_M},
    "PartDeformation": {
        **_NETWORK,
        **{"parts": (1, 1024), "top_k": (1, 1024), "temperature": _POSITIVE, "start_temperature": _POSITIVE},
        "residual_frequencies": _FREQUENCIES,
    },
    "GlobalDeformation": _NETWORK,
    "LipExpression": _NETWORK,
    "NoDeformation": _NETWORK,
    "HashField": {
        **{"levels": (1, 32), "log2_table_size": (1, 24), "finest": (1, 65_536)},
        "hidden_width": _WIDTH,
    },
    "HeadRaySampler": {
        **{"samples": (2, 4096), "cells": (2, 512), "step_m": (1e-5, 1)},
        **{"erosion_m": _LENGTH_M, "thinnest_m": _LENGTH_M},
    },
    "TorsoLayer": {
        **{"resolutions": (1, 4096), "channels": (1, 256), "yielding_cells": (1, 4096)},
        "margin": (1e-4, 10),
    },
    **dict.fromkeys(("AdamW", "Adam", "NAdam", "RAdam"), _ADAM),
    "NeRFace": {"layers": (1, 64), "hidden_width": _WIDTH, "code_width": (0, 4096), "importance": (1, 4096)},
    "UniformSampler": {"samples": (3, 4096)},
    **dict.fromkeys(
        (
            *("Photometric", "CoarsePhotometric", "Matte", "OffsetSize", "OffsetSmoothness"),
            *("PartBalance", "PartEntropy"),
        ),
        _LOSS,
    ),
}
"""By the last part of a class path; classes that are not here check their own numbers."""

OF_KEY: dict[str, Range] = {
    "seed_everything": (0, 2**32 - 1),
    # SSIM's window has eleven pixels.
    "data.image_size": (16, 8192),
    "data.rays_per_frame": (1, 1_000_000),
    "data.frames_per_batch": (1, 4096),
    "data.batches_per_epoch": (1, 1e9),
    "data.sample_frames": (0, 1e9),
    "data.num_workers": (0, 256),
    "data.seed": (0, 2**63),
    "trainer.val_check_interval": (1e-6, 1e12),
    "trainer.check_val_every_n_epoch": (1, 1e9),
    "model.refinement_prior": _NOT_NEGATIVE,
    "model.gradient_clip": _NOT_NEGATIVE,
    "model.cpu_threads": (1, 1024),
    **{f"model.learning_rates.{kind}": (0, 100) for kind in ("grids", "networks", "torso", "refinement")},
}


def check_ranges(configuration: Mapping[str, Any]) -> None:
    """Make sure that every number lies in its range.

    Args:
        configuration: nested tables, as parsed.

    Raises:
        UserError: one does not; the message names its flag.
    """
    for key, value in _numbers(configuration, "", OF_KEY):
        low, high = key[1]
        if not low <= value <= high:
            raise UserError(f"--{key[0]}: {value} is not between {low:g} and {high:g}")


def _numbers(node: Any, key: str, ranges: Mapping[str, Range]) -> Iterator[tuple[tuple[str, Range], float]]:
    """Every number below a node that has a range: its key, its range, its value."""
    if isinstance(node, Mapping):
        if isinstance(node.get("class_path"), str) and isinstance(node.get("init_args"), Mapping):
            own = OF_CLASS.get(node["class_path"].rpartition(".")[2], {})
            inside = f"{key}.init_args"
            ranges = {**ranges, **{f"{inside}.{name}": limits for name, limits in own.items()}}
        for name, value in node.items():
            yield from _numbers(value, f"{key}.{name}".lstrip("."), ranges)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _numbers(value, key, ranges)
    elif type(node) in (int, float) and key in ranges:
        yield (key, ranges[key]), node
