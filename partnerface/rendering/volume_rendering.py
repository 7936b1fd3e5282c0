"""Volume rendering: densities along a ray -> weights (Max 1995; NeRF, Mildenhall et al. 2020, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from partnerface.rendering.rendered_rays import RenderedRays
from partnerface.sampling.ray_sampler import RaySamples


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
class CompositedHead:
    """The head alone on the M rays that meet it.

    Attributes:
        weights: ``[M, S]`` rendering weights of the samples.
        rgb: ``[M, 3]`` colour, premultiplied by the head's opacity.
        part_weights: ``[M, P]`` composited part weights, or None.
    """

    weights: Float[Tensor, "M S"]
    rgb: Float[Tensor, "M 3"]
    part_weights: Float[Tensor, "M P"] | None = None


def render_head(
    density: Tensor, rgb: Tensor, kept: Tensor, samples: RaySamples, part_weights: Tensor | None = None
) -> CompositedHead:
    """Volume rendering of the N evaluated of M * S samples.

    Args:
        density: ``[N]`` per metre.
        rgb: ``[N, 3]``.
        kept: ``[N]`` numbers of the evaluated samples.
        samples: all samples of the M rays.
        part_weights: ``[N, P]`` to composite, or None.
    """
    rays, ray = len(samples.depths), torch.div(kept, samples.count, rounding_mode="floor")
    weights = rendering_weights(scatter_samples(density, kept, samples), samples)
    used = weights.reshape(-1)[kept, None]
    parts = None if part_weights is None else accumulate(used * part_weights, ray, rays)
    return CompositedHead(weights, accumulate(used * rgb, ray, rays), parts)


def composite_over_torso(
    head: CompositedHead, samples: RaySamples, hit: Tensor, torso: tuple[Tensor, Tensor]
) -> RenderedRays:
    """Composite the head over the torso layer: R rays in each of F frames, M of which in all meet the head.

    Args:
        head: the head on the M rays.
        samples: their samples.
        hit: ``[M]`` numbers of the rays, frame by frame.
        torso: rgb ``[F, R, 3]`` and opacity ``[F, R]`` of the torso layer on all rays.

    Returns:
        Rays ``[F, R]``.
    """
    torso_rgb, torso_opacity = torso

    def all_rays(values: Tensor) -> Tensor:
        rows = values.new_zeros(torso_opacity.numel(), *values.shape[1:]).index_copy(0, hit, values)
        return rows.view(*torso_opacity.shape, *values.shape[1:])

    head_opacity = all_rays(head.weights.sum(1))
    behind = (1 - head_opacity) * torso_opacity
    return RenderedRays(
        rgb=all_rays(head.rgb) + behind[..., None] * torso_rgb,
        opacity=head_opacity + behind,
        depth=all_rays((head.weights * samples.depths).sum(1)),
        head_opacity=head_opacity,
        part_weights=None if head.part_weights is None else all_rays(head.part_weights),
    )
