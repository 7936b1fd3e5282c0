"""strongest_parts: the largest part logits of each point, a Warp kernel with gradients.

To write a table of all logits takes longer than to find the few that count, and its gradient is mostly zero.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, launch, operator

AT_ONCE = 8
"""Parts whose logits are evaluated at once: what a vector register of a CPU holds."""

MOST = 4
"""Largest number of parts that a point can have here."""

RUN_LENGTH = 16
"""Consecutive points of a CPU thread. On a GPU, where points must run side by side, the run is one point."""

_Some = wp.types.vector(length=AT_ONCE, dtype=wp.float32)


@wp.kernel(enable_backward=False)
@no_type_check
def _search(
    points: wp.array(dtype=wp.vec3),
    columns: wp.array(dtype=_Some, ndim=2),
    run: int,
    logits: wp.array(dtype=wp.float32, ndim=2),
    parts: wp.array(dtype=wp.int64, ndim=2),
):
    thread = wp.tid()
    last = parts.shape[1] - 1
    for i in range(thread * run, wp.min((thread + 1) * run, points.shape[0])):
        x = points[i]
        square = wp.dot(x, x)
        best = wp.vec4(-wp.inf, -wp.inf, -wp.inf, -wp.inf)
        found = wp.vec4i()
        for block in range(columns.shape[1]):
            some = (
                x[0] * columns[0, block]
                + x[1] * columns[1, block]
                + x[2] * columns[2, block]
                + square * columns[3, block]
                + columns[4, block]
            )
            if wp.max(some) > best[last]:
                for column in range(AT_ONCE):
                    logit = some[column]
                    if logit > best[last]:
                        place = int(last)
                        while place > 0 and logit > best[place - 1]:
                            best[place] = best[place - 1]
                            found[place] = found[place - 1]
                            place -= 1
                        best[place] = logit
                        found[place] = AT_ONCE * block + column
        for k in range(last + 1):
            logits[i, k] = best[k]
            parts[i, k] = wp.int64(found[k])


@wp.kernel(enable_backward=False)
@no_type_check
def _search_backward(
    gradients: wp.array(dtype=wp.float32, ndim=2),
    points: wp.array(dtype=wp.vec3),
    columns: wp.array(dtype=wp.float32, ndim=2),
    parts: wp.array(dtype=wp.int64, ndim=2),
    run: int,
    point_gradient: wp.array(dtype=wp.vec3),
    column_gradient: wp.array(dtype=wp.float32, ndim=2),
):
    thread = wp.tid()
    for i in range(thread * run, wp.min((thread + 1) * run, points.shape[0])):
        x = points[i]
        slope = wp.vec3()
        for k in range(parts.shape[1]):
            part = int(parts[i, k])
            gradient = gradients[i, k]
            linear = wp.vec3(columns[0, part], columns[1, part], columns[2, part])
            slope += gradient * (linear + 2.0 * columns[3, part] * x)
            wp.atomic_add(column_gradient, 0, part, gradient * x[0])
            wp.atomic_add(column_gradient, 1, part, gradient * x[1])
            wp.atomic_add(column_gradient, 2, part, gradient * x[2])
            wp.atomic_add(column_gradient, 3, part, gradient * wp.dot(x, x))
            wp.atomic_add(column_gradient, 4, part, gradient)
        point_gradient[i] = slope


def _launch_over_points(kernel: wp.Kernel, points: Tensor, inputs: list) -> None:
    run = RUN_LENGTH if points.device.type == "cpu" else 1
    launch(kernel, -(-len(points) // run), [run if i is None else i for i in inputs], points.device)


@operator("strongest_parts")
def strongest_parts(points: Tensor, columns: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of P logits ``(x, |x|^2, 1) @ columns`` of each point, falling, and their parts.

    Args:
        points: ``[N, 3]``, contiguous.
        columns: ``[5, P]``.
        count: how many, at most `MOST` and P.

    Returns:
        Logits ``[N, count]`` and part numbers ``[N, count]``, int64.
    """
    # Columns beyond the last part lose against every part.
    blocks = columns.new_zeros(5, -(-columns.shape[1] // AT_ONCE) * AT_ONCE)
    blocks[4].fill_(-torch.inf)
    blocks[:, : columns.shape[1]] = columns
    logits = points.new_empty(len(points), count)
    parts = torch.empty(len(points), count, dtype=torch.int64, device=points.device)
    some = wp.from_torch(blocks.view(5, -1, AT_ONCE), dtype=_Some)
    _launch_over_points(_search, points, [as_vec3(points), some, None, logits, parts])
    return logits, parts


@operator("strongest_parts_backward")
def strongest_parts_backward(
    gradient: Tensor, points: Tensor, columns: Tensor, parts: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of points and columns, from that of the logits ``[N, count]``."""
    of_points, of_columns = torch.empty_like(points), torch.zeros_like(columns)
    inputs = [gradient.contiguous(), as_vec3(points), columns, parts, None, as_vec3(of_points), of_columns]
    _launch_over_points(_search_backward, points, inputs)
    return of_points, of_columns


@strongest_parts.register_fake
def _(points: Tensor, columns: Tensor, count: int) -> tuple[Tensor, Tensor]:
    shape = len(points), count
    return points.new_empty(shape), points.new_empty(shape, dtype=torch.int64)


@strongest_parts_backward.register_fake
def _(gradient: Tensor, points: Tensor, columns: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(points), torch.empty_like(columns)


def _keep(ctx, inputs: tuple[Tensor, Tensor, int], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])


def _backward(ctx, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor, None]:
    return *strongest_parts_backward(gradient, *ctx.saved_tensors), None


strongest_parts.register_autograd(_backward, setup_context=_keep)
