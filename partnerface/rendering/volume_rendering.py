"""Volume rendering: densities along a ray -> weights -> RenderedRays (Max 1995; NeRF 2020, eq. 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from partnerface.sampling.ray_sampler import RaySamples


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

    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    head_opacity: Tensor
    part_weights: Tensor | None = None

    def over(self, background: Tensor) -> Tensor:
        """Colour ``[F, R, 3]`` over an opaque background ``[F, R, 3]`` (or broadcastable to it)."""
        return self.rgb + (1 - self.opacity[..., None]) * background

    def surface_depth(self) -> Tensor:
        """``[F, R]`` depth in metres where the head covers at least half of a ray, 0 elsewhere."""
        covered = self.head_opacity > 0.5
        return torch.where(covered, self.depth / self.head_opacity.clamp_min(0.5), 0.0)

    def in_order(self, order: Tensor) -> RenderedRays:
        """Rays ``[1, R]`` of which the k-th is number ``order[k]``, in the order of their numbers."""
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        ordered: dict[str, Any] = {k: v if v is None else v[:, place] for k, v in vars(self).items()}
        return replace(self, **ordered)

    @classmethod
    def join(cls, pieces: Sequence[RenderedRays], dim: int) -> RenderedRays:
        """Concatenate frames (``dim`` 0) or rays of the same frames (``dim`` 1)."""
        return cls(**_joined(pieces, lambda values: torch.cat(values, dim)))


@dataclass
class DeformationStatistics:
    """What regularisers need to know of the fine motion: means over the samples of each of F frames.

    Attributes:
        offset_size: ``[F]`` squared canonical offset in square millimetres.
        offset_roughness: ``[F]`` squared change of the canonical offset per distance, see `offset_roughness`.
        part_usage: ``[F, P]`` share of the samples' part weights that each part takes.
        part_entropy: ``[F]`` entropy of the samples' part weights in nats.
    """

    offset_size: Tensor
    offset_roughness: Tensor
    part_usage: Tensor
    part_entropy: Tensor


@dataclass
class Rendering:
    """Rendered rays with all that the losses need.

    Attributes:
        rays: the rays as they are seen.
        deformation: in training, of methods that deform; None otherwise.
        coarse: the first pass of methods with two, or None.
    """

    rays: RenderedRays
    deformation: DeformationStatistics | None = None
    coarse: RenderedRays | None = None

    @classmethod
    def stack(cls, frames: Sequence[Rendering]) -> Rendering:
        """Join the renderings of single frames, ``[1, R]`` each, to F frames."""
        statistics = [frame.deformation for frame in frames if frame.deformation is not None]
        coarse = [frame.coarse for frame in frames if frame.coarse is not None]
        return cls(
            rays=RenderedRays.join([frame.rays for frame in frames], 0),
            deformation=DeformationStatistics(**_joined(statistics, torch.cat)) if statistics else None,
            coarse=RenderedRays.join(coarse, 0) if coarse else None,
        )


def _joined(records: Sequence, join: Callable[[list[Tensor]], Tensor]) -> dict[str, Any]:
    """Each field of some records of one kind, joined; None where the first record has None."""
    values = {f.name: [getattr(record, f.name) for record in records] for f in fields(records[0])}
    return {name: None if pieces[0] is None else join(pieces) for name, pieces in values.items()}


def opacities(density: Tensor, samples: RaySamples) -> Tensor:
    """Opacity ``[R, S]`` of each sample from density ``[R, S]`` per metre; 1 on the opaque backstop."""
    alpha = 1 - torch.exp(-density * samples.lengths)
    last = torch.where(samples.opaque, torch.ones_like(alpha[:, -1]), alpha[:, -1])
    return torch.cat([alpha[:, :-1], last[:, None]], 1)


def transmittance(alpha: Tensor) -> Tensor:
    """Light that reaches each sample ``[R, S]``: the product of 1 - alpha over the samples before it."""
    passed = torch.cumprod(1 - alpha[:, :-1], 1)
    return torch.cat([torch.ones_like(alpha[:, :1]), passed], 1)


def rendering_weights(density: Tensor, samples: RaySamples) -> Tensor:
    """Weight ``[R, S]`` of each sample in its pixel; a row sums to the ray's opacity."""
    alpha = opacities(density, samples)
    return transmittance(alpha) * alpha


def scatter_samples(values: Tensor, kept: Tensor, samples: RaySamples) -> Tensor:
    """Values ``[N]`` of the evaluated samples ``kept`` ``[N]`` as ``[R, S]``, zero elsewhere."""
    dense = values.new_zeros(samples.depths.numel()).index_copy(0, kept, values)
    return dense.view_as(samples.depths)


def accumulate(values: Tensor, ray: Tensor, rays: int) -> Tensor:
    """Sum weighted sample values ``[N, C]`` over their rays ``[N]`` to ``[R, C]``."""
    return values.new_zeros(rays, values.shape[1]).index_add(0, ray, values)


@dataclass
class HeadRays:
    """The head alone on the M rays that meet it.

    Attributes:
        weights: ``[M, S]`` rendering weights of the samples.
        rgb: ``[M, 3]`` colour, premultiplied by the head's opacity.
        part_weights: ``[M, P]`` composited part weights, or None.
    """

    weights: Tensor
    rgb: Tensor
    part_weights: Tensor | None = None


def render_head(
    density: Tensor, rgb: Tensor, kept: Tensor, samples: RaySamples, part_weights: Tensor | None = None
) -> HeadRays:
    """Volume rendering of the K evaluated of M * S samples.

    Args:
        density: ``[K]`` per metre.
        rgb: ``[K, 3]``.
        kept: ``[K]`` numbers of the evaluated samples.
        samples: all samples of the M rays.
        part_weights: ``[K, P]`` to composite, or None.
    """
    rays, ray = len(samples.depths), torch.div(kept, samples.count, rounding_mode="floor")
    weights = rendering_weights(scatter_samples(density, kept, samples), samples)
    used = weights.reshape(-1)[kept, None]
    parts = None if part_weights is None else accumulate(used * part_weights, ray, rays)
    return HeadRays(weights, accumulate(used * rgb, ray, rays), parts)


def composite_over_torso(
    head: HeadRays, samples: RaySamples, hit: Tensor, torso: tuple[Tensor, Tensor]
) -> RenderedRays:
    """Composite the head over the torso layer: R rays of one frame, M of which meet the head.

    Args:
        head: the head on the M rays.
        samples: their samples.
        hit: ``[M]`` numbers of the rays.
        torso: rgb ``[R, 3]`` and opacity ``[R]`` of the torso layer on all rays.

    Returns:
        Rays ``[1, R]``.
    """
    torso_rgb, torso_opacity = torso

    def all_rays(values: Tensor) -> Tensor:
        return values.new_zeros(len(torso_rgb), *values.shape[1:]).index_copy(0, hit, values)

    head_opacity = all_rays(head.weights.sum(1))
    behind = (1 - head_opacity) * torso_opacity
    return RenderedRays(
        rgb=(all_rays(head.rgb) + behind[:, None] * torso_rgb)[None],
        opacity=(head_opacity + behind)[None],
        depth=all_rays((head.weights * samples.depths).sum(1))[None],
        head_opacity=head_opacity[None],
        part_weights=None if head.part_weights is None else all_rays(head.part_weights)[None],
    )
