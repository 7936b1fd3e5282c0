"""RenderedRays: what the avatar returns for a bundle of rays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
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
        offset_size: scalar, mean squared canonical offset over the samples in square millimetres.
        part_usage: ``[P]`` share of the samples' part weights that each part takes.
        part_weights: ``[F, R, P]`` part weights composited along the ray, or None if not asked for.
        part_entropy: scalar, mean entropy of the samples' part weights in nats, or None where nothing is
            learned.
        offset_roughness: scalar, mean squared change of the canonical offset per distance, likewise.
    """

    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    head_opacity: Tensor
    offset_size: Tensor
    part_usage: Tensor
    part_weights: Tensor | None = None
    part_entropy: Tensor | None = None
    offset_roughness: Tensor | None = None

    def over(self, background: Tensor) -> Tensor:
        """Colour ``[F, R, 3]`` over an opaque background ``[F, R, 3]`` (or broadcastable to it)."""
        return self.rgb + (1 - self.opacity[..., None]) * background


def stack_frames(frames: list[RenderedRays]) -> RenderedRays:
    """Join the renderings ``[1, R]`` of F frames to ``[F, R]``."""
    return _join(frames, 0)


def join_rays(chunks: list[RenderedRays]) -> RenderedRays:
    """Join renderings ``[1, R_k]`` of one frame along the rays."""
    return _join(chunks, 1)


def put_in_order(rendered: RenderedRays, order: Tensor) -> RenderedRays:
    """Rays ``[1, R]`` of which the k-th is number ``order[k]``, in the order of their numbers."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    per_ray = ("rgb", "opacity", "depth", "head_opacity", "part_weights")
    values = {name: getattr(rendered, name) for name in per_ray}
    return replace(rendered, **{name: v if v is None else v[:, place] for name, v in values.items()})


def _join(pieces: list[RenderedRays], dim: int) -> RenderedRays:
    def join(name: str) -> Tensor:
        return torch.cat([getattr(piece, name) for piece in pieces], dim)

    def mean(name: str) -> Tensor | None:
        values = [getattr(piece, name) for piece in pieces]
        return None if values[0] is None else torch.stack(values).mean(0)

    return RenderedRays(
        rgb=join("rgb"),
        opacity=join("opacity"),
        depth=join("depth"),
        head_opacity=join("head_opacity"),
        offset_size=mean("offset_size"),
        part_usage=mean("part_usage"),
        part_weights=None if pieces[0].part_weights is None else join("part_weights"),
        part_entropy=mean("part_entropy"),
        offset_roughness=mean("offset_roughness"),
    )
