"""Volume rendering: densities along a ray -> weights (Max 1995; NeRF, Mildenhall et al. 2020, eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.sampling.ray_samples import RaySamples


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
