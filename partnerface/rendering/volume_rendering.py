"""Volume rendering: densities along a ray -> weights (Max 1995; NeRF, Mildenhall et al. 2020, eq. 3).

One kernel for the sums along all rays and one for their gradient: as operations of torch they are eighty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, launch, operator
from partnerface.rendering.rendered_rays import RenderedRays
from partnerface.sampling.ray_sampler import MarchedRays

RGB, OPACITY, DEPTH = range(3), 3, 4
"""Columns of `composite_samples`."""


@wp.func
@no_type_check
def _first_from(kept: wp.array(dtype=wp.int64), number: wp.int64) -> int:
    """How many of the rising ``kept`` are below ``number``."""
    low = int(0)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
    high = int(kept.shape[0])
    while low < high:
        middle = (low + high) / 2
        if kept[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low


@wp.func
@no_type_check
def _passed(density: float, length: float, on_backstop: bool) -> float:
    """Share of light that passes a sample."""
    return wp.where(on_backstop, 0.0, wp.exp(-density * length))


@wp.kernel(enable_backward=False)
@no_type_check
def _composite(
    density: wp.array(dtype=wp.float32),
    rgb: wp.array(dtype=wp.vec3),
    kept: wp.array(dtype=wp.int64),
    depths: wp.array2d(dtype=wp.float32),
    lengths: wp.array2d(dtype=wp.float32),
    opaque: wp.array(dtype=wp.bool),
    hit: wp.array(dtype=wp.int64),
    composited: wp.array2d(dtype=wp.float32),
    weights: wp.array2d(dtype=wp.float32),
):
    ray = wp.tid()
    samples = depths.shape[1]
    number = wp.int64(ray) * wp.int64(samples)
    i = _first_from(kept, number)
    light = float(1.0)  # noqa: UP018
    opacity = float(0.0)  # noqa: UP018
    depth = float(0.0)  # noqa: UP018
    colour = wp.vec3()
    for s in range(samples):
        here = float(0.0)  # noqa: UP018
        own = wp.vec3()
        if i < kept.shape[0] and kept[i] == number + wp.int64(s):
            here = density[i]
            own = rgb[i]
            i += 1
        passed = _passed(here, lengths[ray, s], opaque[ray] and s == samples - 1)
        weight = light * (1.0 - passed)
        weights[ray, s] = weight
        colour += weight * own
        opacity += weight
        depth += weight * depths[ray, s]
        light *= passed
    row = hit[ray]
    for c in range(3):
        composited[row, c] = colour[c]
    composited[row, OPACITY] = opacity
    composited[row, DEPTH] = depth


@wp.kernel(enable_backward=False)
@no_type_check
def _composite_backward(
    gradient: wp.array2d(dtype=wp.float32),
    density: wp.array(dtype=wp.float32),
    rgb: wp.array(dtype=wp.vec3),
    kept: wp.array(dtype=wp.int64),
    depths: wp.array2d(dtype=wp.float32),
    lengths: wp.array2d(dtype=wp.float32),
    opaque: wp.array(dtype=wp.bool),
    hit: wp.array(dtype=wp.int64),
    weights: wp.array2d(dtype=wp.float32),
    density_gradient: wp.array(dtype=wp.float32),
    rgb_gradient: wp.array(dtype=wp.vec3),
    depth_gradient: wp.array2d(dtype=wp.float32),
    length_gradient: wp.array2d(dtype=wp.float32),
):
    ray = wp.tid()
    samples = depths.shape[1]
    number = wp.int64(ray) * wp.int64(samples)
    first = _first_from(kept, number)
    row = hit[ray]
    of_colour = wp.vec3(gradient[row, 0], gradient[row, 1], gradient[row, 2])
    # Forward, the light that reaches each sample.
    i = int(first)
    light = float(1.0)  # noqa: UP018
    for s in range(samples):
        here = float(0.0)  # noqa: UP018
        if i < kept.shape[0] and kept[i] == number + wp.int64(s):
            here = density[i]
            rgb_gradient[i] = weights[ray, s] * of_colour
            i += 1
        length_gradient[ray, s] = light
        depth_gradient[ray, s] = weights[ray, s] * gradient[row, DEPTH]
        light *= _passed(here, lengths[ray, s], opaque[ray] and s == samples - 1)
    # Backward, what a unit of light behind each sample is worth: nothing divides by light that has run out.
    behind = float(0.0)  # noqa: UP018
    for k in range(samples):
        s = samples - 1 - k
        worth = gradient[row, OPACITY] + gradient[row, DEPTH] * depths[ray, s]
        here = float(0.0)  # noqa: UP018
        evaluated = i > first and kept[i - 1] == number + wp.int64(s)
        if evaluated:
            i -= 1
            here = density[i]
            worth += wp.dot(of_colour, rgb[i])
        passed = _passed(here, lengths[ray, s], opaque[ray] and k == 0)
        of_thickness = length_gradient[ray, s] * (worth - behind) * passed
        length_gradient[ray, s] = here * of_thickness
        if evaluated:
            density_gradient[i] = lengths[ray, s] * of_thickness
        behind = (1.0 - passed) * worth + passed * behind


@operator("composite_samples")
def composite_samples(
    density: Tensor,
    rgb: Tensor,
    kept: Tensor,
    depths: Tensor,
    lengths: Tensor,
    opaque: Tensor,
    hit: Tensor,
    rays: int,
) -> tuple[Tensor, Tensor]:
    """Sums along rays of N evaluated of M * S samples.

    Args:
        density: ``[N]`` per metre.
        rgb: ``[N, 3]``.
        kept: ``[N]`` int64 numbers of the evaluated samples, rising.
        depths: ``[M, S]`` metres, see `RaySamples`.
        lengths: ``[M, S]`` metres.
        opaque: ``[M]`` bool.
        hit: ``[M]`` int64 number of each ray.
        rays: number R of all rays.

    Returns:
        ``[R, 5]`` premultiplied rgb, opacity, depth, zero for other rays; ``[M, S]`` weights of the samples,
        without gradient.
    """
    composited = density.new_zeros(rays, 5)
    weights = torch.empty_like(depths, memory_format=torch.contiguous_format)
    inputs = [density, as_vec3(rgb), kept, depths, lengths, opaque, hit, composited, weights]
    launch(_composite, len(depths), inputs, density.device)
    return composited, weights


@operator("composite_samples_backward")
def composite_samples_backward(
    gradient: Tensor,
    density: Tensor,
    rgb: Tensor,
    kept: Tensor,
    depths: Tensor,
    lengths: Tensor,
    opaque: Tensor,
    hit: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of density, rgb, depths and lengths, from that of the sums ``[R, 5]``."""
    of_density, of_rgb = torch.empty_like(density), torch.empty_like(rgb)
    of_depths, of_lengths = torch.empty_like(weights), torch.empty_like(weights)
    samples = density, as_vec3(rgb), kept, depths, lengths, opaque, hit, weights
    inputs = [gradient, *samples, of_density, as_vec3(of_rgb), of_depths, of_lengths]
    launch(_composite_backward, len(depths), inputs, density.device)
    return of_density, of_rgb, of_depths, of_lengths


@composite_samples.register_fake
def _(density: Tensor, rgb: Tensor, kept: Tensor, depths: Tensor, *rest) -> tuple[Tensor, Tensor]:
    return density.new_empty(rest[-1], 5), density.new_empty(depths.shape)


@composite_samples_backward.register_fake
def _(gradient: Tensor, density: Tensor, rgb: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    weights = rest[-1]
    return tuple(torch.empty_like(values) for values in (density, rgb, weights, weights))


def _keep_inputs(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:-1], output[1])


def _backward(ctx, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 8
    density, rgb, depths, lengths = composite_samples_backward(gradient, *ctx.saved_tensors)
    return density, rgb, None, depths, lengths, None, None, None


composite_samples.register_autograd(_backward, setup_context=_keep_inputs)


@dataclass
class CompositedHead:
    """The head alone on R rays in each of F frames, M of which in all meet it.

    Attributes:
        weights: ``[M, S]`` rendering weights of the samples, without gradient.
        rgb: ``[F, R, 3]`` colour, premultiplied by the head's opacity.
        opacity: ``[F, R]``.
        depth: ``[F, R]`` see `RenderedRays`.
        part_weights: ``[F, R, P]`` composited part weights, or None.
    """

    weights: Float[Tensor, "M S"]
    rgb: Float[Tensor, "F R 3"]
    opacity: Float[Tensor, "F R"]
    depth: Float[Tensor, "F R"]
    part_weights: Float[Tensor, "F R P"] | None = None


def render_head(
    density: Tensor, rgb: Tensor, kept: Tensor, sampled: MarchedRays, part_weights: Tensor | None = None
) -> CompositedHead:
    """Volume rendering of the N evaluated of M * S samples.

    Args:
        density: ``[N]`` per metre.
        rgb: ``[N, 3]``.
        kept: ``[N]`` numbers of the evaluated samples, rising.
        sampled: all samples of the rays.
        part_weights: ``[N, P]`` to composite, or None.
    """
    samples, hit, shape = sampled.samples, sampled.hit, sampled.rays.directions.shape[:2]
    place = samples.depths, samples.lengths, samples.opaque, hit
    evaluated = density.float(), rgb.float().contiguous(), kept
    composited, weights = composite_samples(*evaluated, *place, shape.numel())
    colour, opacity, depth = composited.view(*shape, 5).split([3, 1, 1], 2)
    parts = None
    if part_weights is not None:
        ray = hit[torch.div(kept, samples.count, rounding_mode="floor")]
        weighted = weights.view(-1)[kept, None] * part_weights
        parts = weighted.new_zeros(shape.numel(), weighted.shape[1]).index_add(0, ray, weighted)
        parts = parts.view(*shape, weighted.shape[1])
    return CompositedHead(weights, colour, opacity.view(shape), depth.view(shape), parts)


def composite_over_torso(head: CompositedHead, torso: tuple[Tensor, Tensor]) -> RenderedRays:
    """Composite the head over the torso layer: its rgb ``[F, R, 3]`` and opacity ``[F, R]``."""
    torso_rgb, torso_opacity = torso
    behind = (1 - head.opacity) * torso_opacity
    return RenderedRays(
        rgb=torch.addcmul(head.rgb, behind[..., None], torso_rgb),
        opacity=head.opacity + behind,
        depth=head.depth,
        head_opacity=head.opacity,
        part_weights=head.part_weights,
    )
