"""Means over the points of each frame that regularise the fine motion: offsets, usage, entropy of parts."""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, launch, operator
from partnerface.deformation.deformation import DeformedPoints
from partnerface.deformation.strongest_parts import PARTIAL_SUMS


@wp.kernel(enable_backward=False)
@no_type_check
def _add_up(
    offsets: wp.array(dtype=wp.vec3),
    weights: wp.array2d(dtype=wp.float32),
    index: wp.array2d(dtype=wp.int64),
    frame: wp.array(dtype=wp.int32),
    solid: wp.array(dtype=wp.bool),
    sums: wp.array3d(dtype=wp.float32),
):
    i = wp.tid()
    # As is Warp's way, `and` would look at a mask that is not there.
    if solid.shape[0] > 0:  # noqa: SIM102
        if not solid[i]:
            return
    partial = i % sums.shape[0]
    f = frame[i]
    wp.atomic_add(sums, partial, f, 0, 1.0)
    wp.atomic_add(sums, partial, f, 1, wp.length_sq(offsets[i]))
    for k in range(index.shape[1]):
        wp.atomic_add(sums, partial, f, 2 + int(index[i, k]), weights[i, k])


@wp.kernel(enable_backward=False)
@no_type_check
def _divide(
    sums: wp.array3d(dtype=wp.float32),
    mean_square: wp.array(dtype=wp.float32),
    usage: wp.array2d(dtype=wp.float32),
    points: wp.array(dtype=wp.float32),
):
    f, column = wp.tid()
    count = float(0.0)  # noqa: UP018 (Warp: a variable, not a constant)
    total = float(0.0)  # noqa: UP018
    for partial in range(sums.shape[0]):
        count += sums[partial, f, 0]
        total += sums[partial, f, column]
    if column == 0:
        points[f] = count
    elif column == 1:
        mean_square[f] = total / wp.max(count, 1.0)
    elif count > 0.0:
        usage[f, column - 2] = total / count
    else:
        usage[f, column - 2] = 1.0 / float(usage.shape[1])


@wp.kernel(enable_backward=False)
@no_type_check
def _spread_gradient(
    of_square: wp.array(dtype=wp.float32),
    of_usage: wp.array2d(dtype=wp.float32),
    points: wp.array(dtype=wp.float32),
    offsets: wp.array(dtype=wp.vec3),
    index: wp.array2d(dtype=wp.int64),
    frame: wp.array(dtype=wp.int32),
    solid: wp.array(dtype=wp.bool),
    offset_gradient: wp.array(dtype=wp.vec3),
    weight_gradient: wp.array2d(dtype=wp.float32),
):
    i = wp.tid()
    f = frame[i]
    share = 1.0 / wp.max(points[f], 1.0)
    if solid.shape[0] > 0:  # noqa: SIM102
        if not solid[i]:
            share = 0.0
    offset_gradient[i] = (2.0 * share * of_square[f]) * offsets[i]
    for k in range(index.shape[1]):
        weight_gradient[i, k] = share * of_usage[f, int(index[i, k])]


@operator("offset_and_usage")
def offset_and_usage(
    offsets: Tensor, weights: Tensor, index: Tensor, frame: Tensor, solid: Tensor, frames: int, parts: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squared offset and share of each part over the points of each frame.

    Args:
        offsets: ``[N, 3]``.
        weights: ``[N, k]`` part weights, rows sum to one.
        index: ``[N, k]`` int64 their parts.
        frame: ``[N]`` int32 frame of each point.
        solid: ``[N]`` bool: points that count, or ``[0]`` for all.
        frames: number of frames F.
        parts: number of parts P.

    Returns:
        ``[F]`` mean square, 0 for a frame without points; ``[F, P]`` shares of the parts, uniform for such a
        frame; ``[F]`` the number of points, without gradient.
    """
    sums = offsets.new_zeros(PARTIAL_SUMS, frames, 2 + parts)
    found = offsets.new_empty(frames), offsets.new_empty(frames, parts), offsets.new_empty(frames)
    values = [as_vec3(offsets), weights, index, frame, solid, sums]
    launch(_add_up, len(offsets), values, offsets.device)
    launch(_divide, (frames, 2 + parts), [sums, *found], offsets.device)
    return found


@operator("offset_and_usage_backward")
def offset_and_usage_backward(
    of_square: Tensor,
    of_usage: Tensor,
    points: Tensor,
    offsets: Tensor,
    index: Tensor,
    frame: Tensor,
    solid: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of offsets and weights, from those of the means."""
    found = torch.empty_like(offsets), offsets.new_empty(index.shape)
    inputs = [of_square, of_usage, points, as_vec3(offsets), index, frame, solid, as_vec3(found[0]), found[1]]
    launch(_spread_gradient, len(offsets), inputs, offsets.device)
    return found


@offset_and_usage.register_fake
def _(offsets: Tensor, *rest) -> tuple[Tensor, Tensor, Tensor]:
    frames, parts = rest[-2:]
    return offsets.new_empty(frames), offsets.new_empty(frames, parts), offsets.new_empty(frames)


@offset_and_usage_backward.register_fake
def _(of_square: Tensor, of_usage: Tensor, points: Tensor, offsets: Tensor, *rest) -> tuple[Tensor, Tensor]:
    return torch.empty_like(offsets), offsets.new_empty(rest[0].shape)


def _keep_inputs(ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    offsets, _, index, frame, solid, *_ = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(output[2], offsets, index, frame, solid)


def _backward(ctx, of_square: Tensor, of_usage: Tensor, _: None) -> tuple[Tensor | None, ...]:
    of_offsets, of_weights = offset_and_usage_backward(of_square, of_usage, *ctx.saved_tensors)
    return of_offsets, of_weights, None, None, None, None, None


offset_and_usage.register_autograd(_backward, setup_context=_keep_inputs)


def mean_motion(
    deformed: DeformedPoints, parts: int, frame: Tensor, frames: int, solid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean squared offset ``[F]`` and share of each part ``[F, P]``, see `offset_and_usage`.

    ``frame`` ``[N]`` int32 is the frame of each point; ``solid`` ``[N]`` bool the points that count.
    """
    counted = frame.new_empty(0, dtype=torch.bool) if solid is None else solid
    weights, index = deformed.part_weights.contiguous(), deformed.part_index.contiguous()
    points = deformed.offsets.contiguous(), weights, index, frame, counted
    mean_square, usage, _ = offset_and_usage(*points, frames, parts)
    return mean_square, usage


def part_entropy(deformed: DeformedPoints, frame: Tensor, frames: int) -> Tensor:
    """Mean entropy ``[F]`` of the part weights of a frame's points in nats, 0 where each has one part."""
    entropy = torch.special.entr(deformed.part_weights.clamp_min(1e-6)).sum(1)
    total, count = (
        entropy.new_zeros(frames).index_add(0, frame, some) for some in (entropy, torch.ones_like(entropy))
    )
    return total / count.clamp_min(1)
