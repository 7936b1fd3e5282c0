"""blended_product: the blended matrices of a point's parts times its features, a Warp kernel with gradients.

Each point has few parts of many and a frame, so its matrix is gathered from a table that stays in the cache.
In torch operations points would have to be sorted by part and frame, or their matrices written out.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from torch import Tensor
from torch.nn import functional

from partnerface.compute.warp_launch import (
    AT_ONCE,
    as_vec8,
    keep_inputs,
    launch,
    operator,
    run_length,
    vec8,
)


def blended_product(
    matrices: Tensor, features: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> Tensor:
    """``sum_k weights[n, k] * matrices[index[n, k], frame[n]] @ features[n]`` for each point n.

    Args:
        matrices: ``[P, F, C, R]`` one for each part and frame.
        features: ``[N, R]``.
        frame: ``[N]`` int32 frame of each point.
        weights: ``[N, k]`` part weights.
        index: ``[N, k]`` part numbers.

    Returns:
        ``[N, C]``.
    """
    more = -features.shape[1] % AT_ONCE
    if more:
        matrices, features = functional.pad(matrices, (0, more)), functional.pad(features, (0, more))
    return blended_matrices(
        matrices.contiguous(), features.contiguous(), frame, weights.contiguous(), index.contiguous()
    )


@wp.kernel(enable_backward=False)
@no_type_check
def _blend(
    matrices: wp.array(dtype=vec8, ndim=4),
    features: wp.array(dtype=vec8, ndim=2),
    frames: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32, ndim=2),
    parts: wp.array(dtype=wp.int64, ndim=2),
    run: int,
    product: wp.array(dtype=wp.float32, ndim=2),
):
    thread = wp.tid()
    for i in range(thread * run, wp.min((thread + 1) * run, features.shape[0])):
        frame = frames[i]
        for column in range(product.shape[1]):
            total = vec8()
            for k in range(parts.shape[1]):
                part = int(parts[i, k])
                of_part = vec8()
                for block in range(features.shape[1]):
                    of_part += wp.cw_mul(matrices[part, frame, column, block], features[i, block])
                total += weights[i, k] * of_part
            summed = float(0.0)  # noqa: UP018 (Warp: a variable, not a constant)
            for some in range(AT_ONCE):
                summed += total[some]
            product[i, column] = summed


@wp.kernel(enable_backward=False)
@no_type_check
def _blend_backward(
    gradients: wp.array(dtype=wp.float32, ndim=2),
    matrices: wp.array(dtype=vec8, ndim=4),
    features: wp.array(dtype=vec8, ndim=2),
    frames: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32, ndim=2),
    parts: wp.array(dtype=wp.int64, ndim=2),
    run: int,
    matrix_gradient: wp.array(dtype=vec8, ndim=4),
    feature_gradient: wp.array(dtype=vec8, ndim=2),
    weight_gradient: wp.array(dtype=wp.float32, ndim=2),
):
    thread = wp.tid()
    for i in range(thread * run, wp.min((thread + 1) * run, features.shape[0])):
        frame = frames[i]
        for k in range(parts.shape[1]):
            part = int(parts[i, k])
            weight = weights[i, k]
            of_weight = float(0.0)  # noqa: UP018
            for block in range(features.shape[1]):
                weighted = weight * features[i, block]
                along = vec8()
                for column in range(gradients.shape[1]):
                    gradient = gradients[i, column]
                    along += gradient * matrices[part, frame, column, block]
                    wp.atomic_add(matrix_gradient, part, frame, column, block, gradient * weighted)
                if k == 0:
                    feature_gradient[i, block] = weight * along
                else:
                    feature_gradient[i, block] = feature_gradient[i, block] + weight * along
                of_weight += wp.dot(features[i, block], along)
            weight_gradient[i, k] = of_weight


def _launch_over_points(kernel: wp.Kernel, points: int, inputs: list, device: torch.device) -> None:
    run = run_length(device)
    launch(kernel, -(-points // run), [run if i is None else i for i in inputs], device)


@operator("blended_matrices")
def blended_matrices(
    matrices: Tensor, features: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> Tensor:
    """See `blended_product`; contiguous, with features in multiples of `AT_ONCE`."""
    product = features.new_empty(len(features), matrices.shape[2])
    inputs = [as_vec8(matrices), as_vec8(features), frame, weights, index, None, product]
    _launch_over_points(_blend, len(features), inputs, features.device)
    return product


@operator("blended_matrices_backward")
def blended_matrices_backward(
    gradient: Tensor, matrices: Tensor, features: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of matrices, features and weights, from that of the product ``[N, C]``."""
    found = torch.zeros_like(matrices), torch.empty_like(features), torch.empty_like(weights)
    given = [as_vec8(matrices), as_vec8(features), frame, weights, index, None]
    inputs = [gradient.contiguous(), *given, as_vec8(found[0]), as_vec8(found[1]), found[2]]
    _launch_over_points(_blend_backward, len(features), inputs, features.device)
    return found


@blended_matrices.register_fake
def _(matrices: Tensor, features: Tensor, frame: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    return features.new_empty(len(features), matrices.shape[2])


@blended_matrices_backward.register_fake
def _(
    gradient: Tensor, matrices: Tensor, features: Tensor, frame: Tensor, weights: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(matrices), torch.empty_like(features), torch.empty_like(weights)


def _backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    of_matrices, of_features, of_weights = blended_matrices_backward(gradient, *ctx.saved_tensors)
    return of_matrices, of_features, None, of_weights, None


blended_matrices.register_autograd(_backward, setup_context=keep_inputs)
