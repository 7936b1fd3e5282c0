"""Pictures of a rendered frame: by itself, and side by side with target, error, parts and depth."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from torch import Tensor

from partnerface.evaluation.rendered_frame import RenderedFrame

ERROR_GAIN = 4.0
"""Errors are small: this factor makes a difference of 64 of 255 white."""


def picture(*images: Tensor) -> np.ndarray:
    """``[H, W, 3]`` uint8 of an image ``[3, H, W]`` in [0, 1], or of several side by side."""
    row = torch.cat([image.detach().float().cpu() for image in images], -1)
    return (row.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def comparison_strip(rendered: RenderedFrame) -> np.ndarray:
    """``[H, 3 W, 3]`` uint8: target | render | error."""
    target = rendered.frame.on_white()
    error = ((rendered.image - target).abs() * ERROR_GAIN).clamp(0, 1)
    return picture(target, rendered.image, error)


def full_strip(rendered: RenderedFrame) -> np.ndarray:
    """``[H, 5 W, 3]`` uint8: target | render | error | parts | depth; of a single part ``[H, 4 W, 3]``."""
    weights = rendered.part_weights
    images = [] if weights is None or weights.shape[-1] == 1 else [part_map(weights)]
    rest = picture(*images, depth_map(rendered.depth))
    return np.concatenate([comparison_strip(rendered), rest], 1)


def part_map(weights: Tensor) -> Tensor:
    """``[3, H, W]`` part weights ``[H, W, P]`` as a mix of one colour a part, over white."""
    colours = part_colours(weights.shape[-1]).to(weights)
    covered = weights.sum(-1, keepdim=True).clamp(0, 1)
    return (weights @ colours + (1 - covered)).clamp(0, 1).permute(2, 0, 1)


def part_colours(parts: int) -> Tensor:
    """``[P, 3]`` colours; neighbouring numbers lie far apart on the colour circle."""
    golden = 0.61803398875
    return torch.tensor([colorsys.hsv_to_rgb((k * golden) % 1.0, 0.75, 0.9) for k in range(parts)])


def depth_map(depth: Tensor) -> Tensor:
    """``[3, H, W]`` grey, near is bright, between the 2nd and 98th percentile of what is seen."""
    seen = depth > 0
    grey = torch.zeros_like(depth)
    if seen.any():
        low, high = (depth[seen].float().cpu().quantile(q).item() for q in (0.02, 0.98))
        grey[seen] = (1 - 0.85 * (depth[seen] - low) / max(high - low, 1e-6)).clamp(0, 1)
    return grey.expand(3, -1, -1)
