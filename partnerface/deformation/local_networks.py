"""LocalNetworks: P small MLPs evaluated for the points routed to them, and their coarse-to-fine window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

SETTLED = 0.5
"""Share of training after which a schedule has reached its end: the rest trains what will be rendered."""


def settled_share(progress: float) -> float:
    """Share of a schedule that is done, in [0, 1].

    >>> [settled_share(p) for p in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return min(max(progress / SETTLED, 0.0), 1.0)


def annealing_factor(start: float, end: float, progress: float) -> float:
    """Ratio of a value that goes from ``start`` to ``end`` in equal ratios to its end.

    >>> [annealing_factor(4.0, 1.0, p) for p in (0.0, 0.25, 0.5, 1.0)]
    [4.0, 2.0, 1.0, 1.0]
    """
    return math.exp((1 - settled_share(progress)) * math.log(start / end))


class LocalNetworks(nn.Module):
    """P MLPs that share no weights: an offset from two hidden layers, and a code from a branch of one.

    The driving signal is the same for all points of a frame, so it enters as a bias of the first
    layer. Points are sorted by part and each network runs on its segment: on CPU this is faster than
    batched or vmapped forms. The output starts at zero.

    Args:
        parts: number of networks P.
        inputs: width of the point features.
        driving_width: width D of the driving signal.
        hidden_width: width of the hidden layers of an offset; that of a code has half of it.
        code_width: width of the code, 0 for none.
        code_driving_width: numbers of the driving signal, from the first on, that the code is conditioned on.
    """

    def __init__(
        self,
        parts: int,
        inputs: int,
        driving_width: int,
        hidden_width: int,
        code_width: int,
        code_driving_width: int,
    ) -> None:
        super().__init__()

        def weight(fan_in: int, fan_out: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(parts, fan_in, fan_out) / math.sqrt(fan_in))

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(parts, *shape))

        self.branch_width = (hidden_width + 1) // 2 if code_width else 0
        self.code_driving_width = code_driving_width
        first_width = hidden_width + self.branch_width
        self.weight1, self.bias1 = weight(inputs, first_width), zeros(first_width)
        self.driving_weight = weight(driving_width, hidden_width)
        self.weight2, self.bias2 = weight(hidden_width, hidden_width), zeros(hidden_width)
        self.weight3, self.bias3 = zeros(hidden_width, 3), zeros(3)
        if code_width:
            self.code_driving_weight = weight(code_driving_width, self.branch_width)
            self.code_weight, self.code_bias = zeros(self.branch_width, code_width), zeros(code_width)

    def forward(self, features: Tensor, driving: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """Weighted sum of the routed networks' outputs.

        Args:
            features: ``[N, inputs]``.
            driving: ``[D]`` driving signal of the frame, or ``[P, D]`` one for each network.
            weights: ``[N, k]`` part weights.
            index: ``[N, k]`` part numbers.

        Returns:
            ``[N, 3 + code_width]``.
        """
        routes = index.shape[1]
        flat = index.reshape(-1)
        order = flat.argsort()
        point = torch.div(order, routes, rounding_mode="floor")
        counts = torch.bincount(flat, minlength=len(self.bias1)).tolist()
        tensors = [self._first_bias(driving), self.weight1]
        tensors += [self.bias2, self.weight2, self.bias3, self.weight3]
        if self.branch_width:
            tensors += [self.code_bias, self.code_weight]
        # One unbind, not an index for each part: its gradient is one stack, where indexing would fill and
        # add a tensor as large as all parts together for every one of them.
        layers = zip(*(tensor.unbind(0) for tensor in tensors), strict=True)
        segments = features.index_select(0, point).split(counts)
        outputs = [self._of_one_part(*part) for part in zip(segments, layers, strict=True)]
        weighted = torch.cat(outputs) * weights.reshape(-1).index_select(0, order)[:, None]
        total = weighted.new_zeros(len(features), weighted.shape[1])
        return total.index_add(0, point, weighted)

    def _first_bias(self, driving: Tensor) -> Tensor:
        """``[P, first layer]``, the driving signal in it."""
        signal = driving.expand(len(self.bias1), -1)
        of_driving = torch.einsum("pd,pdw->pw", signal, self.driving_weight)
        if self.branch_width:
            signal = signal[:, : self.code_driving_width]
            of_code = torch.einsum("pd,pdw->pw", signal, self.code_driving_weight)
            of_driving = torch.cat([of_driving, of_code], 1)
        return of_driving + self.bias1

    def _of_one_part(self, segment: Tensor, layers: Sequence[Tensor]) -> Tensor:
        bias1, weight1, bias2, weight2, bias3, weight3, *code_layer = layers
        hidden = torch.addmm(bias1, segment, weight1).relu_()
        offset = torch.addmm(bias2, hidden[:, : len(bias2)], weight2).relu_()
        offset = torch.addmm(bias3, offset, weight3)
        if not code_layer:
            return offset
        code_bias, code_weight = code_layer
        return torch.cat([offset, torch.addmm(code_bias, hidden[:, len(bias2) :], code_weight)], 1)
