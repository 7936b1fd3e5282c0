"""LocalNetworks: P small MLPs, each evaluated only on the points that are routed to it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LocalNetworks(nn.Module):
    """P MLPs with two hidden layers that share no weights.

    The driving signal is the same for all points of a frame, so it enters as a bias of the first
    layer. Points are sorted by part and each network runs on its segment: on CPU this is faster than
    batched or vmapped forms. The output starts at zero.

    Args:
        parts: number of networks P.
        inputs: width of the point features.
        driving_width: width D of the driving signal.
        hidden_width: width of the hidden layers.
        outputs: width of the output.
    """

    def __init__(self, parts: int, inputs: int, driving_width: int, hidden_width: int, outputs: int) -> None:
        super().__init__()

        def weight(fan_in: int, fan_out: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(parts, fan_in, fan_out) / math.sqrt(fan_in))

        self.weight1 = weight(inputs, hidden_width)
        self.driving_weight = weight(driving_width, hidden_width)
        self.bias1 = nn.Parameter(torch.zeros(parts, hidden_width))
        self.weight2 = weight(hidden_width, hidden_width)
        self.bias2 = nn.Parameter(torch.zeros(parts, hidden_width))
        self.weight3 = nn.Parameter(torch.zeros(parts, hidden_width, outputs))
        self.bias3 = nn.Parameter(torch.zeros(parts, outputs))

    def forward(self, features: Tensor, driving: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """Weighted sum of the routed networks' outputs.

        Args:
            features: ``[N, inputs]``.
            driving: ``[D]`` driving signal of the frame, or ``[P, D]`` what each network hears of it.
            weights: ``[N, k]`` part weights.
            index: ``[N, k]`` part numbers.

        Returns:
            ``[N, outputs]``.
        """
        routes = index.shape[1]
        flat = index.reshape(-1)
        order = flat.argsort()
        point = torch.div(order, routes, rounding_mode="floor")
        counts = torch.bincount(flat, minlength=len(self.bias1)).tolist()
        heard = driving.expand(len(self.bias1), -1)
        first_bias = torch.einsum("pd,pdw->pw", heard, self.driving_weight) + self.bias1
        # One unbind, not an index for each part: its gradient is one stack, where indexing would fill and
        # add a tensor as large as all parts together for every one of them.
        layers = [
            tensor.unbind(0)
            for tensor in (first_bias, self.weight1, self.bias2, self.weight2, self.bias3, self.weight3)
        ]
        outputs = []
        for segment, bias1, weight1, bias2, weight2, bias3, weight3 in zip(
            features.index_select(0, point).split(counts), *layers, strict=True
        ):
            hidden = torch.addmm(bias1, segment, weight1).relu_()
            hidden = torch.addmm(bias2, hidden, weight2).relu_()
            outputs.append(torch.addmm(bias3, hidden, weight3))
        weighted = torch.cat(outputs) * weights.reshape(-1).index_select(0, order)[:, None]
        total = weighted.new_zeros(len(features), weighted.shape[1])
        return total.index_add(0, point, weighted)
