"""blended_product: features of a point times the blend of its parts' matrices, a Warp kernel with gradients.

Each point has few parts of many and a frame, so its matrix is gathered from a table that stays in the cache.
In torch operations points would have to be sorted by part and frame, or their matrices written out.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor
from torch.nn import functional

from partnerface.compute.warp_launch import launch, operator

COLUMNS = 8
"""Columns of a matrix that are multiplied at once: what a vector register of a CPU holds."""

RUN_LENGTH = 16
"""Consecutive points of a CPU thread. On a GPU, where points must run side by side, the run is one point."""

_Row = wp.types.vector(length=COLUMNS, dtype=wp.float32)


def blended_product(
    features: Tensor, matrices: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> Tensor:
    """``sum_k weights[n, k] * features[n] @ matrices[index[n, k], frame[n]]`` for each point n.

    Args:
        features: ``[N, R]``.
        matrices: ``[P, F, R, C]`` one for each part and frame.
        frame: ``[N]`` int32 frame of each point.
        weights: ``[N, k]`` part weights.
        index: ``[N, k]`` part numbers.

    Returns:
        ``[N, C]``.
    """
    columns = matrices.shape[3]
    padded = functional.pad(matrices, (0, -columns % COLUMNS)).contiguous()
    product = blended_matrices(features.contiguous(), padded, frame, weights.contiguous(), index.contiguous())
    return product[:, :columns]


@wp.kernel(enable_backward=False)
@no_type_check
def _blend(
    features: wp.array(dtype=wp.float32, ndim=2),
    matrices: wp.array(dtype=_Row, ndim=4),
    frames: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32, ndim=2),
    parts: wp.array(dtype=wp.int64, ndim=2),
    run: int,
    product: wp.array(dtype=_Row, ndim=2),
):
    thread = wp.tid()
    for i in range(thread * run, wp.min((thread + 1) * run, features.shape[0])):
        frame = frames[i]
        for block in range(product.shape[1]):
            total = _Row()
            for k in range(parts.shape[1]):
                part = int(parts[i, k])
                of_part = _Row()
                for row in range(features.shape[1]):
                    of_part += features[i, row] * matrices[part, frame, row, block]
                total += weights[i, k] * of_part
            product[i, block] = total


@wp.kernel(enable_backward=False)
@no_type_check
def _blend_backward(
    product_gradient: wp.array(dtype=_Row, ndim=2),
    features: wp.array(dtype=wp.float32, ndim=2),
    matrices: wp.array(dtype=_Row, ndim=4),
    frames: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32, ndim=2),
    parts: wp.array(dtype=wp.int64, ndim=2),
    run: int,
    feature_gradient: wp.array(dtype=wp.float32, ndim=2),
    matrix_gradient: wp.array(dtype=_Row, ndim=4),
    weight_gradient: wp.array(dtype=wp.float32, ndim=2),
):
    thread = wp.tid()
    for i in range(thread * run, wp.min((thread + 1) * run, features.shape[0])):
        frame = frames[i]
        for k in range(parts.shape[1]):
            part = int(parts[i, k])
            weight = weights[i, k]
            of_weight = float(0.0)  # noqa: UP018 (Warp: a variable, not a constant)
            for block in range(product_gradient.shape[1]):
                gradient = product_gradient[i, block]
                for row in range(features.shape[1]):
                    along = wp.dot(matrices[part, frame, row, block], gradient)
                    of_weight += features[i, row] * along
                    feature_gradient[i, row] = feature_gradient[i, row] + weight * along
                    wp.atomic_add(
                        matrix_gradient, part, frame, row, block, (weight * features[i, row]) * gradient
                    )
            weight_gradient[i, k] = of_weight


def _rows(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., C]`` as an array of vectors that shares its memory."""
    return wp.from_torch(tensor.detach().unflatten(-1, (-1, COLUMNS)), dtype=_Row)


def _launch_over_points(kernel: wp.Kernel, points: int, inputs: list, device: torch.device) -> None:
    run = RUN_LENGTH if device.type == "cpu" else 1
    launch(kernel, -(-points // run), [run if i is None else i for i in inputs], device)


@operator("blended_matrices")
def blended_matrices(
    features: Tensor, matrices: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> Tensor:
    """See `blended_product`; contiguous, with columns in multiples of `COLUMNS`."""
    product = features.new_empty(len(features), matrices.shape[3])
    inputs = [features, _rows(matrices), frame, weights, index, None, _rows(product)]
    _launch_over_points(_blend, len(features), inputs, features.device)
    return product


@operator("blended_matrices_backward")
def blended_matrices_backward(
    gradient: Tensor, features: Tensor, matrices: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of features, matrices and weights, from that of the product ``[N, C]``."""
    found = torch.zeros_like(features), torch.zeros_like(matrices), torch.empty_like(weights)
    given = [features, _rows(matrices), frame, weights, index, None]
    inputs = [_rows(gradient.contiguous()), *given, found[0], _rows(found[1]), found[2]]
    _launch_over_points(_blend_backward, len(features), inputs, features.device)
    return found


@blended_matrices.register_fake
def _(features: Tensor, matrices: Tensor, frame: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    return features.new_empty(len(features), matrices.shape[3])


@blended_matrices_backward.register_fake
def _(
    gradient: Tensor, features: Tensor, matrices: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(features), torch.empty_like(matrices), torch.empty_like(weights)


def _keep_inputs(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    features, matrices, frame, weights, index = ctx.saved_tensors
    of_features, of_matrices, of_weights = blended_matrices_backward(
        gradient, features, matrices, frame, weights, index
    )
    return of_features, of_matrices, None, of_weights, None


blended_matrices.register_autograd(_backward, setup_context=_keep_inputs)
