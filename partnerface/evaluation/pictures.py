"""Pictures of a test: the rendered frame, and strips of it beside target, error, parts and depth."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partnerface.avatar.picture import Picture, image_bytes
from partnerface.data.batches.datasets import EvaluationFrame

ERROR_GAIN = 4.0
"""Factor of the errors shown, which are small: a difference of 64 of 255 is white."""

PART_TONES = ((0.75, 0.9), (0.45, 1.0), (0.55, 0.75), (1.0, 1.0))
"""Saturation and value of the colours of parts: the four that keep 64 of them farthest apart in CIELAB."""


@dataclass
class Prediction:
    """A frame of the video as the avatar renders it, with the frame itself.

    Attributes:
        frame: the frame as it was filmed, the target.
        image: ``[3, H, W]`` colour over white, in [0, 1].
        opacity: ``[H, W]`` of head and torso, in [0, 1].
        depth: ``[H, W]`` of the head, metres along the ray, 0 where it is less than half opaque.
        part_weights: ``[H, W, P]`` composited weights of the P parts; None if they were not rendered.
    """

    frame: EvaluationFrame
    image: Tensor
    opacity: Tensor
    depth: Tensor
    part_weights: Tensor | None = None

    @classmethod
    def of(cls, frame: EvaluationFrame, picture: Picture) -> Prediction:
        """A picture of the frame's view, over white."""
        return cls(frame, picture.on_white(), picture.alpha, picture.depth, picture.part_weights)


def comparison_strip(rendered: Prediction) -> np.ndarray:
    """``[H, 3 W, 3]`` uint8: target | render | error."""
    target = rendered.frame.on_white()
    error = ((rendered.image - target).abs() * ERROR_GAIN).clamp(0, 1)
    return image_bytes(target, rendered.image, error)


def full_strip(rendered: Prediction) -> np.ndarray:
    """``[H, 5 W, 3]`` uint8: target | render | error | parts | depth.

    Without part weights, or with those of a single part, ``[H, 4 W, 3]``: no picture of the parts.
    """
    weights = rendered.part_weights
    images = [] if weights is None or weights.shape[-1] == 1 else [part_map(weights)]
    rest = image_bytes(*images, depth_map(rendered.depth))
    return np.concatenate([comparison_strip(rendered), rest], 1)


def part_map(weights: Tensor) -> Tensor:
    """``[3, H, W]`` in [0, 1]: the colours of the parts mixed by part weights ``[H, W, P]``, over white."""
    colours = part_colours(weights.shape[-1]).to(weights)
    covered = weights.sum(-1, keepdim=True).clamp(0, 1)
    return (weights @ colours + (1 - covered)).clamp(0, 1).permute(2, 0, 1)


def part_colours(parts: int) -> Tensor:
    """``[P, 3]`` RGB in [0, 1], up to 64 of which can be told apart.

    Parts of neighbouring numbers differ much in hue, and each fourth has the same tone.
    """
    golden = 0.61803398875
    return torch.tensor(
        [colorsys.hsv_to_rgb((k * golden) % 1.0, *PART_TONES[k % len(PART_TONES)]) for k in range(parts)]
    )


def depth_map(depth: Tensor) -> Tensor:
    """``[3, H, W]`` in [0, 1]: depth ``[H, W]`` as grey, near is bright, no head (depth 0) is black.

    The greys are spread between the 2nd and the 98th percentile of the depth.
    """
    seen = depth > 0
    grey = torch.zeros_like(depth)
    if seen.any():
        low, high = (depth[seen].float().cpu().quantile(q).item() for q in (0.02, 0.98))
        grey[seen] = (1 - 0.85 * (depth[seen] - low) / max(high - low, 1e-6)).clamp(0, 1)
    return grey.expand(3, -1, -1)
