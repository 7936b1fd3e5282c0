"""The strongest parts of canonical points, by squared distance to the parts' centres, in one kernel."""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor
from torch.nn import functional

from partnerface.compute.warp_launch import AT_ONCE, as_vec3, as_vec8, launch, operator, vec8

PARTIAL_SUMS = 64
"""Sums over points are added up in as many places, and then these: threads of a GPU seldom meet, and sums of
few numbers round little."""

CENTRE, SCALE, BIAS = slice(0, 3), 3, 4
"""Rows of the table of the parts, and columns of its gradient in `strongest_parts_backward`."""


@wp.kernel(enable_backward=False)
@no_type_check
def _strongest(
    positions: wp.array(dtype=wp.vec3),
    table: wp.array2d(dtype=vec8),
    residual: wp.array2d(dtype=wp.float32),
    logits: wp.array2d(dtype=wp.float32),
    index: wp.array2d(dtype=wp.int64),
):
    i = wp.tid()
    count = logits.shape[1]
    for place in range(count):
        logits[i, place] = float(-wp.inf)
        index[i, place] = wp.int64(place)
    position = positions[i]
    # The least that counts, in a register: most of many parts are out at a glance.
    least = float(-wp.inf)
    total = vec8()
    for block in range(table.shape[1]):
        squared = vec8()
        for axis in range(3):
            away = vec8(position[axis]) - table[axis, block]
            squared += wp.cw_mul(away, away)
        some = table[BIAS, block] - wp.cw_mul(table[SCALE, block], squared)
        if residual.shape[0] > 0:
            for lane in range(AT_ONCE):
                if block * AT_ONCE + lane < residual.shape[1]:
                    some[lane] = some[lane] + residual[i, block * AT_ONCE + lane]
        total += some
        for lane in range(AT_ONCE):
            logit = some[lane]
            if logit > least:
                place = count - 1
                while place > 0 and logit > logits[i, place - 1]:
                    logits[i, place] = logits[i, place - 1]
                    index[i, place] = index[i, place - 1]
                    place -= 1
                logits[i, place] = logit
                index[i, place] = wp.int64(block * AT_ONCE + lane)
                least = logits[i, count - 1]
    # A logit that is no number is above none, but is to be seen.
    summed = float(0.0)  # noqa: UP018 (Warp: a variable, not a constant)
    for lane in range(AT_ONCE):
        summed += total[lane]
    if wp.isnan(summed):
        logits[i, 0] = summed


@wp.kernel(enable_backward=False)
@no_type_check
def _strongest_backward(
    gradient: wp.array2d(dtype=wp.float32),
    index: wp.array2d(dtype=wp.int64),
    positions: wp.array(dtype=wp.vec3),
    centres: wp.array(dtype=wp.vec3),
    scales: wp.array(dtype=wp.float32),
    position_gradient: wp.array(dtype=wp.vec3),
    part_gradient: wp.array3d(dtype=wp.float32),
    residual_gradient: wp.array2d(dtype=wp.float32),
):
    i = wp.tid()
    partial = i % part_gradient.shape[0]
    of_position = wp.vec3()
    for k in range(index.shape[1]):
        p = int(index[i, k])
        given = gradient[i, k]
        away = positions[i] - centres[p]
        of_centre = (2.0 * scales[p] * given) * away
        of_position -= of_centre
        for axis in range(3):
            wp.atomic_add(part_gradient, partial, p, axis, of_centre[axis])
        wp.atomic_add(part_gradient, partial, p, 3, -given * wp.length_sq(away))
        wp.atomic_add(part_gradient, partial, p, 4, given)
        if residual_gradient.shape[0] > 0:
            residual_gradient[i, p] = given
    position_gradient[i] = of_position


@operator("strongest_parts")
def strongest_parts(
    positions: Tensor, centres: Tensor, scales: Tensor, biases: Tensor, residual: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of the logits ``l_p = b_p - s_p |x - c_p|^2 + r_p`` of each point.

    Args:
        positions: ``[N, 3]`` x.
        centres: ``[P, 3]`` c.
        scales: ``[P]`` s, per squared unit of the positions.
        biases: ``[P]`` b.
        residual: ``[N, P]`` r, or ``[0, P]`` for none.
        count: k, at most P.

    Returns:
        Logits ``[N, k]``, falling, and their parts ``[N, k]`` int64; of equal ones the first parts.
    """
    logits = positions.new_empty(len(positions), count)
    index = torch.empty(logits.shape, dtype=torch.long, device=positions.device)
    more = -len(centres) % AT_ONCE
    if more:
        centres, scales = functional.pad(centres, (0, 0, 0, more)), functional.pad(scales, (0, more))
        biases = functional.pad(biases, (0, more), value=-torch.inf)
    table = as_vec8(torch.cat([centres.T, scales[None], biases[None]]))
    inputs = [as_vec3(positions), table, residual, logits, index]
    launch(_strongest, len(positions), inputs, positions.device)
    return logits, index


@operator("strongest_parts_backward")
def strongest_parts_backward(
    gradient: Tensor, index: Tensor, positions: Tensor, centres: Tensor, scales: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of positions, of the parts' centres, scales and biases ``[P, 5]``, and of the residual."""
    of_positions, of_residual = torch.empty_like(positions), torch.zeros_like(residual)
    sums = positions.new_zeros(PARTIAL_SUMS, len(centres), 5)
    points = gradient.contiguous(), index, as_vec3(positions)
    inputs = [*points, as_vec3(centres), scales, as_vec3(of_positions), sums, of_residual]
    launch(_strongest_backward, len(positions), inputs, positions.device)
    return of_positions, sums.sum(0), of_residual


@strongest_parts.register_fake
def _(positions: Tensor, *rest) -> tuple[Tensor, Tensor]:
    shape = len(positions), rest[-1]
    return positions.new_empty(shape), positions.new_empty(shape, dtype=torch.long)


@strongest_parts_backward.register_fake
def _(gradient: Tensor, index: Tensor, positions: Tensor, centres: Tensor, *rest) -> tuple[Tensor, ...]:
    of_parts = positions.new_empty(len(centres), 5)
    return torch.empty_like(positions), of_parts, torch.empty_like(rest[-1])


def _keep_inputs(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    positions, centres, scales, _, residual, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], positions, centres, scales, residual)


def _backward(ctx, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    positions, parts, residual = strongest_parts_backward(gradient, *ctx.saved_tensors)
    return positions, parts[:, CENTRE], parts[:, SCALE], parts[:, BIAS], residual, None


strongest_parts.register_autograd(_backward, setup_context=_keep_inputs)
