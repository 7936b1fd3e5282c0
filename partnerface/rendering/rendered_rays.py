"""RenderedRays and MethodOutput: what an avatar returns for rays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class RenderedRays:
    """R rays of F frames.

    Attributes:
        rgb: ``[F, R, 3]`` colour, premultiplied by opacity.
        opacity: ``[F, R]``.
        depth: ``[F, R]`` depth along the ray in metres, weighted by the samples' share of the head's opacity
            and not divided by it: 0 where there is no head.
        head_opacity: ``[F, R]`` opacity of the head alone, without the torso layer.
        part_weights: ``[F, R, P]`` part weights composited along the ray, or None.
    """

    rgb: Float[Tensor, "F R 3"]
    opacity: Float[Tensor, "F R"]
    depth: Float[Tensor, "F R"]
    head_opacity: Float[Tensor, "F R"]
    part_weights: Float[Tensor, "F R P"] | None = None

    def over(self, background: Tensor) -> Tensor:
        """Colour ``[F, R, 3]`` over an opaque background ``[F, R, 3]`` (or broadcastable to it)."""
        return torch.addcmul(self.rgb, 1 - self.opacity[..., None], background)

    def surface_depth(self) -> Tensor:
        """``[F, R]`` depth in metres where the head covers at least half of a ray, 0 elsewhere."""
        covered = self.head_opacity > 0.5
        return torch.where(covered, self.depth / self.head_opacity.clamp_min(0.5), 0.0)

    def in_order(self, pieces: Sequence[Tensor | slice]) -> RenderedRays:
        """Rays ``[1, R]`` that were rendered in pieces, in the order of their numbers.

        ``pieces`` holds the numbers of the rays of each; consecutive ones (slices) are in order already.
        """
        numbers = [piece for piece in pieces if isinstance(piece, Tensor)]
        if not numbers:
            return self
        order = torch.cat(numbers)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        ordered: dict[str, Any] = {k: v if v is None else v[:, place] for k, v in vars(self).items()}
        return replace(self, **ordered)

    @classmethod
    def join(cls, pieces: Sequence[RenderedRays]) -> RenderedRays:
        """Concatenate rays of the same frames."""
        values = {f.name: [getattr(piece, f.name) for piece in pieces] for f in fields(cls)}
        joined: dict[str, Any] = {k: None if v[0] is None else torch.cat(v, 1) for k, v in values.items()}
        return cls(**joined)


@dataclass
class DeformationStatistics:
    """What regularisers need to know of the fine motion: means over the samples of each of F frames.

    Attributes:
        offset_size: ``[F]`` squared canonical offset in square millimetres.
        part_usage: ``[F, P]`` share of the samples' part weights that each part takes.
        roughness: computes `offset_roughness`.
        entropy: computes `part_entropy`.
        driving_share: share of the expressions that a part depends on, where that is learned, or None.
        slide: computes `offset_slide`.
    """

    offset_size: Float[Tensor, " F"]
    part_usage: Float[Tensor, "F P"]
    roughness: Callable[[], Tensor]
    entropy: Callable[[], Tensor]
    driving_share: Float[Tensor, ""] | None = None
    slide: Callable[[], Tensor | None] = lambda: None

    @cached_property
    def offset_roughness(self) -> Tensor:
        """``[F]`` squared change of the canonical offset per distance; computed when it is first read."""
        return self.roughness()

    @cached_property
    def part_entropy(self) -> Tensor:
        """``[F]`` entropy of the samples' part weights in nats; computed when it is first read."""
        return self.entropy()

    @cached_property
    def offset_slide(self) -> Tensor | None:
        """``[F, R]`` squared part of the offset along the skin in mm²; None without normals."""
        return self.slide()

    def values(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        names = (
            "offset_size",
            "offset_roughness",
            "part_usage",
            "part_entropy",
            "driving_share",
            "offset_slide",
        )
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class MethodOutput:
    """Rendered rays with all that the losses need.

    Attributes:
        rays: the rays as they are seen.
        deformation: in training, of methods that deform; None otherwise.
        coarse: the first pass of methods with two, or None.
    """

    rays: RenderedRays
    deformation: DeformationStatistics | None = None
    coarse: RenderedRays | None = None
